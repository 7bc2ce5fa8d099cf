"""The extras of a sample: how they are asked for, and whether the server gave them.

Older servers leave out what they do not know, without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinker_nb.errors import NotSupportedByServer
from tinker_nb.wire.results import SampleResponse
from tinker_nb.wire.tensors import JsonTensor, TensorData

_SERVER = "The server"


def json_targets(targets: TensorData | None) -> JsonTensor | None:
    """Return the tokens to score as JSON; a sparse tensor stays sparse.

    Made dense, its cells that ask for nothing would ask for token 0.
    """
    if targets is None:
        return None
    return JsonTensor(
        data=targets.data,
        dtype=targets.dtype,
        shape=targets.shape,
        sparse_crow_indices=targets.sparse_crow_indices,
        sparse_col_indices=targets.sparse_col_indices,
    )


def check_extras(response: SampleResponse, wanted: Mapping[str, Any]) -> SampleResponse:
    """Return a response that has what was asked for; raises `NotSupportedByServer` otherwise.

    Parameters
    ----------
    response
        What the server drew.
    wanted
        The extras' fields of the request.
    """
    for name, is_given in _given(response).items():
        if wanted[name] and not is_given:
            raise NotSupportedByServer(name, _SERVER, reason="it left them out of its answer")
    last_n = wanted["prompt_logprobs_last_n"]
    before = (response.prompt_logprobs or [])[:-last_n] if last_n else []
    if any(score is not None for score in before):
        raise NotSupportedByServer(
            "prompt_logprobs_last_n", _SERVER, reason="it scored the whole prompt"
        )
    return response


def _given(response: SampleResponse) -> dict[str, bool]:
    drawn = [each for each in response.sequences if each.tokens]
    return {
        "prompt_logprobs": response.prompt_logprobs is not None,
        "topk_prompt_logprobs": response.topk_prompt_logprobs is not None,
        "topk_sample_logprobs": all(each.topk_logprobs is not None for each in drawn),
        "target_prompt_logprobs": response.target_prompt_logprobs is not None,
        "prompt_alt_tokens_k": response.prompt_alt_tokens is not None,
    }
