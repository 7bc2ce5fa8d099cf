"""JSON bodies of the official protocol's answers (sections 1 to 3 of the protocol)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from tinker_nb.wire.base import WireModel
from tinker_nb.wire.params import OptimizerConfig

QueueState = Literal["active", "paused_capacity", "paused_rate_limit"]
Category = Literal["user", "server", "unknown"]


class ClientConfigResponse(WireModel):
    """Answer of client/config; a server may leave out everything."""

    pjwt_auth_enabled: bool = False
    credential_default_source: str = "api_key"
    parallel_fwdbwd_chunks: bool = True
    fwdbwd_max_chunk_len: int = 1024
    fwdbwd_max_chunk_bytes_count: int = 5_000_000
    proto_compress_fwdbwd: bool = False
    fwdbwd_dispatch_bytes_semaphore_size: int = 50_000_000
    sample_dispatch_bytes_semaphore_size: int = 10_485_760
    billing_exception_max_pause_duration_sec: float = 3600
    sample_max_concurrent_requests: int = 2000
    sample_use_retrieve_futures: bool = False
    sample_join_sampling_session: bool = False
    custom_loss_server_side: bool = False


class AuthTokenResponse(WireModel):
    """Answer of auth/token: what a key was exchanged for."""

    jwt: SecretStr


class ClientDynamicConfigResponse(WireModel):
    """Answer of client/dynamic_config."""

    refresh_interval_sec: float = 300
    sample_cancel_enabled: bool = False
    sample_cancel_max_batch_size: int = 64


class CreateSessionResponse(WireModel):
    """Answer of create_session."""

    session_id: str
    info_message: str | None = None
    warning_message: str | None = None
    error_message: str | None = None


class FutureResponse(WireModel):
    """Answer of every heavy call: the id to fetch the result with."""

    request_id: str
    model_id: str | None = None
    sample_sequence_ids: list[str] | None = None


class TryAgainResponse(WireModel):
    """A poll's "not yet".

    ``future_state``, ``place`` (requests ahead) and ``eta_seconds`` are ours.
    """

    type: Literal["try_again"] = "try_again"
    request_id: str | None = None
    queue_state: QueueState | None = None
    queue_state_reason: str | None = None
    future_state: Literal["queued", "running"] | None = None
    place: int | None = None
    eta_seconds: float | None = None


class RequestFailedResponse(WireModel):
    """A poll's "failed"."""

    error: str
    category: Category = "unknown"


class ModelData(WireModel):
    """What a model is."""

    arch: str | None = None
    model_name: str | None = None
    tokenizer_id: str | None = None


class GetInfoResponse(WireModel):
    """Answer of get_info; ``restored`` is ours: what a restart of the server did not bring back."""

    model_id: str
    model_data: ModelData = Field(default_factory=ModelData)
    is_lora: bool | None = None
    lora_rank: int | None = None
    model_name: str | None = None
    optimizer_config: OptimizerConfig = Field(default_factory=OptimizerConfig)
    restored: str | None = None
    type: Literal["get_info"] = "get_info"


class CreateSamplingSessionResponse(WireModel):
    """Answer of create_sampling_session."""

    sampling_session_id: str
    type: Literal["create_sampling_session"] = "create_sampling_session"


class GetSamplerResponse(WireModel):
    """Answer of samplers/ID."""

    sampler_id: str
    base_model: str
    model_path: str | None = None


class SupportedModel(WireModel):
    """One model a server has."""

    model_name: str | None = None
    max_context_length: int | None = None
    trainable: bool | None = None
    sampleable: bool | None = None


class GetServerCapabilitiesResponse(WireModel):
    """Answer of get_server_capabilities."""

    supported_models: list[SupportedModel] = Field(default_factory=list)


class FutureCompletion(WireModel):
    """One entry of a batch poll."""

    state: Literal["finished", "failed"]
    request_id: str
    response_payload_uncompressed_size: int | None = None


class RetrieveFuturesResponse(WireModel):
    """Answer of retrieve_futures: what has ended since the cursor."""

    completions: list[FutureCompletion] = Field(default_factory=list)
    cursor: int = 0


class HealthResponse(WireModel):
    """Answer of healthz."""

    status: str = "ok"


class ErrorDetail(WireModel):
    """Body of every 4xx and 5xx."""

    detail: str
