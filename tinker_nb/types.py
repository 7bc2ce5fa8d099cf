"""The data types under the names that code for the official SDK uses: ``types.Datum`` and so on."""

from tinker_nb.wire.data import (
    Datum,
    EncodedTextChunk,
    ImageAssetPointerChunk,
    ImageChunk,
    ModelInput,
)
from tinker_nb.wire.params import AdamParams, LoraConfig, SamplingParams
from tinker_nb.wire.responses import GetInfoResponse, GetServerCapabilitiesResponse
from tinker_nb.wire.results import (
    ForwardBackwardOutput,
    OptimStepResponse,
    SampledSequence,
    SampleResponse,
)
from tinker_nb.wire.tensors import TensorData

__all__ = [
    "AdamParams",
    "Datum",
    "EncodedTextChunk",
    "ForwardBackwardOutput",
    "GetInfoResponse",
    "GetServerCapabilitiesResponse",
    "ImageAssetPointerChunk",
    "ImageChunk",
    "LoraConfig",
    "ModelInput",
    "OptimStepResponse",
    "SampleResponse",
    "SampledSequence",
    "SamplingParams",
    "TensorData",
]
