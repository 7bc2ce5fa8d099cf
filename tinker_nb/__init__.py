"""Fine-tune language models from a notebook: cells return at once, live cards show each request.

``%load_ext tinker_nb`` brings the magics; the names below are the client, for scripts and cells.
They are loaded on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tinker_nb._version import __version__

if TYPE_CHECKING:
    from tinker_nb import types
    from tinker_nb.client.admin import AdminClient
    from tinker_nb.client.futures import TinkerFuture
    from tinker_nb.client.futures import TinkerFuture as APIFuture
    from tinker_nb.client.loss_handles import LossHandle, PerDatumLossFn
    from tinker_nb.client.rest import RestClient
    from tinker_nb.client.sampling import SamplingClient
    from tinker_nb.client.sampling import SamplingClient as BackcompatSamplingClientFuture
    from tinker_nb.client.service import ServiceClient
    from tinker_nb.client.states import FutureSnapshot, FutureState
    from tinker_nb.client.training import TrainingClient
    from tinker_nb.client.training import TrainingClient as BackcompatTrainingClientFuture
    from tinker_nb.data.chat import ChatTokenizer
    from tinker_nb.data.datums import conversation_to_datum, conversations_to_datums
    from tinker_nb.errors import (
        APIConnectionError,
        APIError,
        APIResponseValidationError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        BillingError,
        ConfigurationError,
        ConflictError,
        InternalServerError,
        InvalidInputError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RequestFailedError,
        TinkerError,
        UnprocessableEntityError,
    )
    from tinker_nb.launch import EmbeddedServer, start_server
    from tinker_nb.nesting import allow_nested_loops
    from tinker_nb.train.supervised import TrainResult, train_supervised
    from tinker_nb.types import (
        CheckpointType,
        ModelID,
        ModelInputChunk,
        OptimParams,
        ParsedCheckpointTinkerPath,
        StopReason,
        TensorDtype,
    )
    from tinker_nb.wire.data import Datum, EncodedTextChunk, ModelInput
    from tinker_nb.wire.params import (
        AdamOptimizerConfig,
        AdamParams,
        DimuonOptimizerConfig,
        DimuonParams,
        LoraConfig,
        SamplingParams,
    )
    from tinker_nb.wire.requests import OptimStepRequest, SampleRequest
    from tinker_nb.wire.rest import Checkpoint, TrainingRun
    from tinker_nb.wire.results import (
        ForwardBackwardOutput,
        OptimStepResponse,
        SampledSequence,
        SampleResponse,
    )
    from tinker_nb.wire.tensors import TensorData

_HOMES = {
    "tinker_nb.client.admin": ("AdminClient",),
    "tinker_nb.client.futures": ("TinkerFuture",),
    "tinker_nb.client.loss_handles": ("LossHandle", "PerDatumLossFn"),
    "tinker_nb.client.rest": ("RestClient",),
    "tinker_nb.client.sampling": ("SamplingClient",),
    "tinker_nb.client.service": ("ServiceClient",),
    "tinker_nb.client.states": ("FutureSnapshot", "FutureState"),
    "tinker_nb.client.training": ("TrainingClient",),
    "tinker_nb.data.chat": ("ChatTokenizer",),
    "tinker_nb.data.datums": ("conversation_to_datum", "conversations_to_datums"),
    "tinker_nb.errors": (
        "APIConnectionError",
        "APIError",
        "APIResponseValidationError",
        "APIStatusError",
        "APITimeoutError",
        "AuthenticationError",
        "BadRequestError",
        "BillingError",
        "ConfigurationError",
        "ConflictError",
        "InternalServerError",
        "InvalidInputError",
        "NotFoundError",
        "PermissionDeniedError",
        "RateLimitError",
        "RequestFailedError",
        "TinkerError",
        "UnprocessableEntityError",
    ),
    "tinker_nb.launch": ("EmbeddedServer", "start_server"),
    "tinker_nb.nesting": ("allow_nested_loops",),
    "tinker_nb.train.supervised": ("TrainResult", "train_supervised"),
    "tinker_nb.types": (
        "CheckpointType",
        "ModelID",
        "ModelInputChunk",
        "OptimParams",
        "ParsedCheckpointTinkerPath",
        "StopReason",
        "TensorDtype",
    ),
    "tinker_nb.wire.data": ("Datum", "EncodedTextChunk", "ModelInput"),
    "tinker_nb.wire.params": (
        "AdamOptimizerConfig",
        "AdamParams",
        "DimuonOptimizerConfig",
        "DimuonParams",
        "LoraConfig",
        "SamplingParams",
    ),
    "tinker_nb.wire.requests": ("OptimStepRequest", "SampleRequest"),
    "tinker_nb.wire.rest": ("Checkpoint", "TrainingRun"),
    "tinker_nb.wire.results": (
        "ForwardBackwardOutput",
        "OptimStepResponse",
        "SampleResponse",
        "SampledSequence",
    ),
    "tinker_nb.wire.tensors": ("TensorData",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
# Names of the official SDK for what is called otherwise here. A client that is still being made is
# already the client, and can be awaited and waited for.
_ALSO = {
    "APIFuture": "TinkerFuture",
    "BackcompatSamplingClientFuture": "SamplingClient",
    "BackcompatTrainingClientFuture": "TrainingClient",
}

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIFuture",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AdamOptimizerConfig",
    "AdamParams",
    "AdminClient",
    "AuthenticationError",
    "BackcompatSamplingClientFuture",
    "BackcompatTrainingClientFuture",
    "BadRequestError",
    "BillingError",
    "ChatTokenizer",
    "Checkpoint",
    "CheckpointType",
    "ConfigurationError",
    "ConflictError",
    "Datum",
    "DimuonOptimizerConfig",
    "DimuonParams",
    "EmbeddedServer",
    "EncodedTextChunk",
    "ExperimentalWarning",
    "ForwardBackwardOutput",
    "FutureSnapshot",
    "FutureState",
    "InternalServerError",
    "InvalidInputError",
    "LoraConfig",
    "LossHandle",
    "ModelID",
    "ModelInput",
    "ModelInputChunk",
    "NotFoundError",
    "OptimParams",
    "OptimStepRequest",
    "OptimStepResponse",
    "ParsedCheckpointTinkerPath",
    "PerDatumLossFn",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestFailedError",
    "RestClient",
    "SampleRequest",
    "SampleResponse",
    "SampledSequence",
    "SamplingClient",
    "SamplingParams",
    "ServiceClient",
    "StopReason",
    "TensorData",
    "TensorDtype",
    "TinkerError",
    "TinkerFuture",
    "TrainResult",
    "TrainingClient",
    "TrainingRun",
    "UnprocessableEntityError",
    "__version__",
    "allow_nested_loops",
    "conversation_to_datum",
    "conversations_to_datums",
    "start_server",
    "train_supervised",
    "types",
]


class ExperimentalWarning(FutureWarning):
    """The official SDK's warning of what may change, for filters that name it; never given here."""


def __getattr__(name: str) -> Any:
    if name == "types":
        return importlib.import_module("tinker_nb.types")
    here = _ALSO.get(name, name)
    if here not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[here]), here)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext tinker_nb``: put the magics into the shell."""
    from tinker_nb.notebook.extension import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext tinker_nb``: stop all work and take the magics out."""
    from tinker_nb.notebook.extension import unload

    unload(shell)
