"""The data types under the names that code for the official SDK uses: ``types.Datum`` and so on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tinker_nb.wire.data import (
    Chunk,
    Datum,
    EncodedTextChunk,
    ImageAssetPointerChunk,
    ImageChunk,
    ModelInput,
)
from tinker_nb.wire.params import (
    AdamOptimizerConfig,
    AdamParams,
    DimuonOptimizerConfig,
    DimuonParams,
    LoraConfig,
    OptimizerConfig,
    SamplingParams,
)
from tinker_nb.wire.paths import CHECKPOINT_TYPES, parse_tinker_path
from tinker_nb.wire.requests import (
    ClientConfigRequest,
    CreateCustomLossRequest,
    CreateModelRequest,
    CreateSamplingSessionRequest,
    CreateSessionRequest,
    CustomLossGraph,
    CustomLossInput,
    CustomLossNode,
    GetInfoRequest,
    LoadWeightsRequest,
    OptimStepRequest,
    SampleRequest,
    SaveWeightsExternalRequest,
    SaveWeightsForSamplerRequest,
    SaveWeightsRequest,
    SessionHeartbeatRequest,
    UnloadModelRequest,
)
from tinker_nb.wire.responses import (
    Category,
    ClientConfigResponse,
    ClientDynamicConfigResponse,
    CreateSamplingSessionResponse,
    CreateSessionResponse,
    GetInfoResponse,
    GetSamplerResponse,
    GetServerCapabilitiesResponse,
    HealthResponse,
    ModelData,
    RequestFailedResponse,
    SupportedModel,
)
from tinker_nb.wire.rest import (
    Checkpoint,
    CheckpointsListResponse,
    CheckpointType,
    CopyWeightsRequest,
    CopyWeightsResponse,
    Cursor,
    ExternalWeightsUrlsResponse,
    TrainingRun,
    TrainingRunsResponse,
    WeightsInfoResponse,
    WhoamiResponse,
)
from tinker_nb.wire.results import (
    CreateCustomLossResponse,
    CreateModelResponse,
    ForwardBackwardOutput,
    LoadWeightsResponse,
    OptimStepResponse,
    PromptAltTokens,
    SampledSequence,
    SampleResponse,
    SaveWeightsExternalResponse,
    SaveWeightsForSamplerResponse,
    SaveWeightsResponse,
    StopReason,
    UnloadModelResponse,
)
from tinker_nb.wire.sessions import (
    AccessibleSearchOwner,
    ActiveSessionStatusQuery,
    CancelledSessionStatusQuery,
    ClientFinishedSessionStatusQuery,
    ClientSessionFinished,
    FailedSessionStatusQuery,
    FinishReason,
    GetSessionResponse,
    ListSessionsResponse,
    OwnSearchOwner,
    SearchOwner,
    SessionActive,
    SessionCancelled,
    SessionFailed,
    SessionFailedReason,
    SessionFinishReason,
    SessionSearchCursor,
    SessionSearchRequest,
    SessionSearchResponse,
    SessionStatus,
    SessionStatusQuery,
    SessionSummary,
    UserSearchOwner,
)
from tinker_nb.wire.tensors import TensorData, TensorDtype
from tinker_nb.wire.usage import (
    AuditLogEntry,
    AuditLogResponse,
    BillingEventInfo,
    BillingUsageEvent,
    BillingUsageResponse,
    BillingUsageSession,
    CheckpointBillingEvent,
    CurrentCheckpointStorageUsageItem,
    CurrentCheckpointStorageUsageResponse,
    GetBillingUsageRequest,
    SamplingPrefillBillingEvent,
    SamplingSampleBillingEvent,
    StorageBillingEvent,
    TrainingBillingEvent,
)

# Names of the official SDK for what is called otherwise here, or is a plain type.
ClientSessionFinishReason: TypeAlias = SessionFinishReason
ClientSessionFinishReasonType: TypeAlias = FinishReason
CustomLossInputRank: TypeAlias = Literal[0, 1, 2]
LossFnInputs: TypeAlias = dict[str, TensorData]
LossFnOutput: TypeAlias = dict[str, TensorData]
LossFnType: TypeAlias = Literal[
    "cross_entropy",
    "importance_sampling",
    "ppo",
    "cispo",
    "dro",
    "gspo",
    "stable_reinforce",
    "custom",
]
ModelID: TypeAlias = str
ModelInputChunk: TypeAlias = Chunk
OptimParams: TypeAlias = AdamParams | DimuonParams
RequestErrorCategory: TypeAlias = Category
RequestID: TypeAlias = str
SamplingClientKind: TypeAlias = Literal["snapshot", "inflight"]


@dataclass(frozen=True)
class ParsedCheckpointTinkerPath:
    """The parts of a checkpoint's path.

    Parameters
    ----------
    tinker_path
        The whole of it.
    training_run_id
        The run it is of.
    checkpoint_type
        What it is for.
    checkpoint_id
        Its id in the run, such as ``weights/step-1``.
    """

    tinker_path: str
    training_run_id: str
    checkpoint_type: CheckpointType
    checkpoint_id: str

    @classmethod
    def from_tinker_path(cls, tinker_path: str) -> ParsedCheckpointTinkerPath:
        """Parse ``tinker://RUN/KIND/NAME``; raises `InvalidInputError` on anything else."""
        path = parse_tinker_path(tinker_path)
        return cls(tinker_path, path.run, CHECKPOINT_TYPES[path.kind], path.checkpoint_id)


__all__ = [
    "AccessibleSearchOwner",
    "ActiveSessionStatusQuery",
    "AdamOptimizerConfig",
    "AdamParams",
    "AuditLogEntry",
    "AuditLogResponse",
    "BillingEventInfo",
    "BillingUsageEvent",
    "BillingUsageResponse",
    "BillingUsageSession",
    "CancelledSessionStatusQuery",
    "Checkpoint",
    "CheckpointBillingEvent",
    "CheckpointType",
    "CheckpointsListResponse",
    "ClientConfigRequest",
    "ClientConfigResponse",
    "ClientDynamicConfigResponse",
    "ClientFinishedSessionStatusQuery",
    "ClientSessionFinishReason",
    "ClientSessionFinishReasonType",
    "ClientSessionFinished",
    "CopyWeightsRequest",
    "CopyWeightsResponse",
    "CreateCustomLossRequest",
    "CreateCustomLossResponse",
    "CreateModelRequest",
    "CreateModelResponse",
    "CreateSamplingSessionRequest",
    "CreateSamplingSessionResponse",
    "CreateSessionRequest",
    "CreateSessionResponse",
    "CurrentCheckpointStorageUsageItem",
    "CurrentCheckpointStorageUsageResponse",
    "Cursor",
    "CustomLossGraph",
    "CustomLossInput",
    "CustomLossInputRank",
    "CustomLossNode",
    "Datum",
    "DimuonOptimizerConfig",
    "DimuonParams",
    "EncodedTextChunk",
    "ExternalWeightsUrlsResponse",
    "FailedSessionStatusQuery",
    "ForwardBackwardOutput",
    "GetBillingUsageRequest",
    "GetInfoRequest",
    "GetInfoResponse",
    "GetSamplerResponse",
    "GetServerCapabilitiesResponse",
    "GetSessionResponse",
    "HealthResponse",
    "ImageAssetPointerChunk",
    "ImageChunk",
    "ListSessionsResponse",
    "LoadWeightsRequest",
    "LoadWeightsResponse",
    "LoraConfig",
    "LossFnInputs",
    "LossFnOutput",
    "LossFnType",
    "ModelData",
    "ModelID",
    "ModelInput",
    "ModelInputChunk",
    "OptimParams",
    "OptimStepRequest",
    "OptimStepResponse",
    "OptimizerConfig",
    "OwnSearchOwner",
    "ParsedCheckpointTinkerPath",
    "PromptAltTokens",
    "RequestErrorCategory",
    "RequestFailedResponse",
    "RequestID",
    "SampleRequest",
    "SampleResponse",
    "SampledSequence",
    "SamplingClientKind",
    "SamplingParams",
    "SamplingPrefillBillingEvent",
    "SamplingSampleBillingEvent",
    "SaveWeightsExternalRequest",
    "SaveWeightsExternalResponse",
    "SaveWeightsForSamplerRequest",
    "SaveWeightsForSamplerResponse",
    "SaveWeightsRequest",
    "SaveWeightsResponse",
    "SearchOwner",
    "SessionActive",
    "SessionCancelled",
    "SessionFailed",
    "SessionFailedReason",
    "SessionHeartbeatRequest",
    "SessionSearchCursor",
    "SessionSearchRequest",
    "SessionSearchResponse",
    "SessionStatus",
    "SessionStatusQuery",
    "SessionSummary",
    "StopReason",
    "StorageBillingEvent",
    "SupportedModel",
    "TensorData",
    "TensorDtype",
    "TrainingBillingEvent",
    "TrainingRun",
    "TrainingRunsResponse",
    "UnloadModelRequest",
    "UnloadModelResponse",
    "UserSearchOwner",
    "WeightsInfoResponse",
    "WhoamiResponse",
]
