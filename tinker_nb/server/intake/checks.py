"""What is refused at submission: everything that can be known without the model computing."""

from __future__ import annotations

import numpy as np

from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.server.engine.work import Example, Floats, Ints, ModelFacts
from tinker_nb.wire.data import Datum, ModelInput
from tinker_nb.wire.losses import check_data
from tinker_nb.wire.protobuf import ForwardBackwardRequest


def read_examples(request: ForwardBackwardRequest, facts: ModelFacts) -> tuple[Example, ...]:
    """Return the data of a call as arrays.

    Raises
    ------
    InvalidInputError
        The loss cannot read the data, or the model cannot.
    """
    try:
        check_data(request.data, request.loss_fn, request.loss_fn_config)
    except UnknownNameError as error:
        # An unknown loss is a wrong argument; 404 would read as a missing endpoint.
        raise InvalidInputError(error.message) from error
    return tuple(_example(i, datum, facts) for i, datum in enumerate(request.data))


def _example(index: int, datum: Datum, facts: ModelFacts) -> Example:
    inputs = datum.loss_fn_inputs
    tokens = _tokens(f"Datum {index}", datum.model_input, facts)
    targets = np.ascontiguousarray(inputs["target_tokens"].to_numpy(), dtype=np.int64)
    check_tokens(f"Datum {index}: target_tokens", targets, facts)
    columns: dict[str, Floats] = {
        name: np.ascontiguousarray(tensor.to_numpy(), dtype=np.float32)
        for name, tensor in inputs.items()
        if name != "target_tokens"
    }
    columns.setdefault("weights", np.ones(targets.shape, dtype=np.float32))
    return Example(tokens, targets, columns)


def read_prompt(prompt: ModelInput, facts: ModelFacts) -> Ints:
    """Return a prompt as an array; refuse one that is empty, too long or not text."""
    tokens = _tokens("The prompt", prompt, facts)
    if not len(tokens):
        raise InvalidInputError("The prompt is empty.")
    return tokens


def _tokens(what: str, model_input: ModelInput, facts: ModelFacts) -> Ints:
    ids = model_input.to_ints()
    if len(ids) > facts.context:
        raise InvalidInputError(
            f"{what} has {len(ids)} tokens; {facts.name} reads {facts.context} at most."
        )
    try:
        tokens: Ints = np.array(ids, dtype=np.int64)
    except OverflowError as error:
        raise InvalidInputError(f"{what} holds a token id that is no 64-bit number.") from error
    check_tokens(what, tokens, facts)
    return tokens


def check_tokens(what: str, tokens: Ints, facts: ModelFacts) -> None:
    """Refuse token ids outside the vocabulary."""
    if tokens.size and (tokens.min() < 0 or tokens.max() >= facts.vocab_size):
        wrong = int(tokens.min() if tokens.min() < 0 else tokens.max())
        raise InvalidInputError(
            f"{what} holds token {wrong}; {facts.name} has the tokens 0 to {facts.vocab_size - 1}."
        )
