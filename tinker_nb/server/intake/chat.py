"""The quick-start dialect's meaning: chat to data, results to its own small objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinker_nb.data.chat import ChatTokenizer
from tinker_nb.data.datums import conversations_to_datums
from tinker_nb.errors import ConfigurationError, InvalidInputError
from tinker_nb.server.engine.work import Ints, ModelFacts
from tinker_nb.server.intake.checks import check_tokens
from tinker_nb.wire.data import Datum
from tinker_nb.wire.params import SamplingParams
from tinker_nb.wire.quickstart import ChatMessage, ChatSampleRequest
from tinker_nb.wire.results import ForwardBackwardOutput, SampleResponse

BACKEND = "tinker_nb"
_DEFAULT_MAX_TOKENS = 50


def chat_datums(data: Sequence[Sequence[ChatMessage]], tokenizer: ChatTokenizer) -> list[Datum]:
    """Return conversations as data for a loss."""
    conversations = [[message.model_dump() for message in turns] for turns in data]
    try:
        return conversations_to_datums(conversations, tokenizer)
    except ConfigurationError as error:
        raise InvalidInputError(error.message) from error


def loss_result(model_id: str, loss_fn: str, output: ForwardBackwardOutput) -> dict[str, Any]:
    """Return a forward_backward result as this dialect gives it."""
    total, tokens = output.metrics["loss:sum"], output.metrics["num_tokens:sum"]
    mean = total / tokens if tokens else 0.0
    return {
        "loss": mean,
        "num_samples": len(output.loss_fn_outputs),
        "model_id": model_id,
        "backend": BACKEND,
        "metrics": {"loss:sum": total, "num_tokens": tokens, "mean_nll": mean},
        "loss_fn_outputs": {"loss_fn": loss_fn},
    }


def step_result(model_id: str, metrics: dict[str, float]) -> dict[str, Any]:
    """Return an optim_step result as this dialect gives it."""
    return {"metrics": metrics, "model_id": model_id, "backend": BACKEND}


def chat_prompts(
    request: ChatSampleRequest, tokenizer: ChatTokenizer, facts: ModelFacts
) -> list[Ints]:
    """Return the prompts of a request as tokens.

    A text counts as one user message; ``prompt.chunks`` are tokens already.
    """
    if isinstance(request.prompt, dict):
        prompts = [_chunk_tokens(request.prompt)]
    else:
        prompts = _text_prompts(request, tokenizer)
    return [_checked(prompt, facts) for prompt in prompts]


def _text_prompts(request: ChatSampleRequest, tokenizer: ChatTokenizer) -> list[list[int]]:
    texts = request.prompts or ([request.prompt] if isinstance(request.prompt, str) else [])
    try:
        if request.messages:
            return [tokenizer.prompt([message.model_dump() for message in request.messages])]
        prompts = [tokenizer.prompt(text) for text in texts]
    except ConfigurationError as error:
        raise InvalidInputError(error.message) from error
    if not prompts:
        raise InvalidInputError("There is nothing to continue: give prompts or messages.")
    return prompts


def _chunk_tokens(prompt: dict[str, Any]) -> list[int]:
    try:
        tokens = [token for chunk in prompt["chunks"] for token in chunk["tokens"]]
    except (KeyError, TypeError) as error:
        raise InvalidInputError("prompt.chunks must be a list of {'tokens': [...]}.") from error
    if not all(type(token) is int for token in tokens):
        raise InvalidInputError("prompt.chunks must hold integer tokens.")
    return tokens


def _checked(prompt: list[int], facts: ModelFacts) -> Ints:
    if not 0 < len(prompt) <= facts.context:
        raise InvalidInputError(
            f"The prompt has {len(prompt)} tokens; {facts.name} reads 1 to {facts.context}."
        )
    try:
        tokens: Ints = np.array(prompt, dtype=np.int64)
    except OverflowError as error:
        raise InvalidInputError("The prompt holds a token id that is too large.") from error
    check_tokens("The prompt", tokens, facts)
    return tokens


def chat_sampling_params(params: SamplingParams) -> SamplingParams:
    """Return the parameters with this dialect's own limit filled in."""
    if params.max_tokens is not None:
        return params
    return params.model_copy(update={"max_tokens": _DEFAULT_MAX_TOKENS})


def sample_result(
    model_id: str, responses: Sequence[SampleResponse], tokenizer: ChatTokenizer
) -> dict[str, Any]:
    """Return drawn sequences as this dialect gives them."""
    sequences = [sequence for response in responses for sequence in response.sequences]
    texts = [tokenizer.decode(sequence.tokens) for sequence in sequences]
    return {
        "generated_text": texts[0],
        "completions": texts,
        "sequences": [
            {"stop_reason": s.stop_reason, "tokens": s.tokens, "logprobs": s.logprobs}
            for s in sequences
        ],
        "model_id": model_id,
        "backend": BACKEND,
    }
