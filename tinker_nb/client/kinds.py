"""The kinds of calls that are answered with a future: request, path and result, each once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinker_nb.errors import InvalidInputError
from tinker_nb.wire import requests, results
from tinker_nb.wire.protobuf import ForwardBackwardRequest

#: The body of a call as a value, whatever its encoding; a dialect turns it into bytes.
Ask = Any


@dataclass(frozen=True)
class Kind:
    """One kind of call.

    Parameters
    ----------
    name
        Its name in the protocol (header ``X-Tinker-Request-Type``).
    path
        Where the official protocol sends it.
    operation
        The client's method, for messages and the table of capabilities.
    result
        What the server gives; read by the dialect.
    binary
        Whether the result may be protobuf.
    repeatable
        Whether a lost one may be submitted anew: it changes nothing on the server.
    commutes
        Whether two of them may change places: gradients add up in any order.
    """

    name: str
    path: str
    operation: str
    result: type[Any]
    binary: bool = False
    repeatable: bool = False
    commutes: bool = False


def _kind(name: str, path: str, operation: str, result: type[Any], **how: bool) -> Kind:
    return Kind(name, f"/api/v1/{path}", operation, result, **how)


_FORWARD = ("forward_backward", results.ForwardBackwardOutput)
_ALL = (
    _kind(
        "CreateModel", "create_model", "create_lora_training_client", results.CreateModelResponse
    ),
    _kind("Forward", _FORWARD[0], "forward", _FORWARD[1], binary=True, commutes=True),
    _kind(
        "ForwardBackward",
        _FORWARD[0],
        "forward_backward",
        _FORWARD[1],
        binary=True,
        commutes=True,
    ),
    _kind("OptimStep", "optim_step", "optim_step", results.OptimStepResponse),
    _kind("Sample", "asample", "sample", results.SampleResponse, binary=True, repeatable=True),
    _kind("SaveWeights", "save_weights", "save_state", results.SaveWeightsResponse),
    _kind(
        "SaveWeightsForSampler",
        "save_weights_for_sampler",
        "save_weights_for_sampler",
        results.SaveWeightsForSamplerResponse,
    ),
    _kind(
        "SaveWeightsExternal",
        "save_weights_external",
        "save_weights_external",
        results.SaveWeightsExternalResponse,
    ),
    _kind("LoadWeights", "load_weights", "load_state", results.LoadWeightsResponse),
    _kind("UnloadModel", "unload_model", "unload_model", results.UnloadModelResponse),
    _kind(
        "CreateCustomLoss",
        "create_custom_loss",
        "create_custom_loss",
        results.CreateCustomLossResponse,
    ),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
_OF_REQUEST: Mapping[type[Any], str] = {
    requests.CreateModelRequest: "CreateModel",
    requests.OptimStepRequest: "OptimStep",
    requests.SampleRequest: "Sample",
    requests.SaveWeightsRequest: "SaveWeights",
    requests.SaveWeightsForSamplerRequest: "SaveWeightsForSampler",
    requests.SaveWeightsExternalRequest: "SaveWeightsExternal",
    requests.LoadWeightsRequest: "LoadWeights",
    requests.UnloadModelRequest: "UnloadModel",
    requests.CreateCustomLossRequest: "CreateCustomLoss",
}


def kind_named(name: str) -> Kind:
    """Return a kind by its name; raises `InvalidInputError` on an unknown one."""
    if name not in KINDS:
        raise InvalidInputError(f"{name!r} is no kind of request; one of {', '.join(KINDS)}.")
    return KINDS[name]


def kind_of(ask: Ask) -> Kind:
    """Return the kind of a request."""
    if isinstance(ask, ForwardBackwardRequest):
        return KINDS["Forward" if ask.forward_only else "ForwardBackward"]
    return KINDS[_OF_REQUEST[type(ask)]]
