"""Whether a server gave the extras that were asked for: older ones leave them out in silence."""

from __future__ import annotations

from tinker_nb.errors import NotSupportedByServer
from tinker_nb.wire.results import SampleResponse
from tinker_nb.wire.tensors import TensorData

_SERVER = "The server"
_LEFT_OUT = "it left them out of its answer"


def check_extras(
    response: SampleResponse,
    prompt_alt_tokens_k: int,
    prompt_logprobs_last_n: int | None,
    target_prompt_logprobs: TensorData | None,
) -> SampleResponse:
    """Return a response that has what was asked for; raises `NotSupportedByServer` otherwise."""
    if prompt_alt_tokens_k and response.prompt_alt_tokens is None:
        raise NotSupportedByServer("prompt_alt_tokens_k", _SERVER, reason=_LEFT_OUT)
    if target_prompt_logprobs is not None and response.target_prompt_logprobs is None:
        raise NotSupportedByServer("target_prompt_logprobs", _SERVER, reason=_LEFT_OUT)
    if prompt_logprobs_last_n is not None:
        before = (response.prompt_logprobs or [])[:-prompt_logprobs_last_n]
        if any(score is not None for score in before):
            raise NotSupportedByServer(
                "prompt_logprobs_last_n", _SERVER, reason="it scored the whole prompt"
            )
    return response
