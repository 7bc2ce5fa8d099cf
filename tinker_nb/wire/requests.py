"""JSON bodies of the official protocol's requests (sections 1 and 2 of the protocol)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tinker_nb.wire.base import WireModel
from tinker_nb.wire.data import ModelInput
from tinker_nb.wire.params import AdamParams, LoraConfig, OptimizerConfig, SamplingParams


class ClientConfigRequest(WireModel):
    """``POST /api/v1/client/config`` and ``/client/dynamic_config``."""

    sdk_version: str = ""


class CreateSessionRequest(WireModel):
    """``POST /api/v1/create_session``."""

    tags: list[str] = Field(default_factory=list)
    user_metadata: dict[str, Any] | None = None
    sdk_version: str = ""
    project_id: str | None = None
    display_name: str | None = None
    type: Literal["create_session"] = "create_session"


class SessionHeartbeatRequest(WireModel):
    """``POST /api/v1/session_heartbeat``."""

    session_id: str
    type: Literal["session_heartbeat"] = "session_heartbeat"


class FinishSessionRequest(WireModel):
    """``POST /api/v1/sessions/ID/finish``."""

    reason: dict[str, Any] = Field(default_factory=lambda: {"type": "success"})
    detail: str | None = None


class CreateModelRequest(WireModel):
    """``POST /api/v1/create_model``."""

    session_id: str
    model_seq_id: int
    base_model: str
    lora_config: LoraConfig = Field(default_factory=LoraConfig)
    optimizer_config: OptimizerConfig = Field(default_factory=OptimizerConfig)
    user_metadata: dict[str, Any] | None = None
    type: Literal["create_model"] = "create_model"


class GetInfoRequest(WireModel):
    """``POST /api/v1/get_info``."""

    model_id: str
    type: Literal["get_info"] = "get_info"


class OptimStepRequest(WireModel):
    """``POST /api/v1/optim_step``. Missing or null parameters mean the defaults."""

    model_id: str
    seq_id: int | None = None
    adam_params: AdamParams = Field(default_factory=AdamParams)
    type: Literal["optim_step"] = "optim_step"

    @model_validator(mode="before")
    @classmethod
    def _null_means_default(cls, body: Any) -> Any:
        if isinstance(body, dict) and body.get("optimizer_params"):
            raise ValueError("this server has AdamW only; send adam_params")
        if isinstance(body, dict) and body.get("adam_params", ...) is None:
            return {key: value for key, value in body.items() if key != "adam_params"}
        return body


class SampleRequest(WireModel):
    """``POST /api/v1/asample``."""

    sampling_session_id: str | None = None
    seq_id: int | None = None
    base_model: str | None = None
    model_path: str | None = None
    num_samples: int = Field(default=1, ge=1, le=1024)
    prompt: ModelInput
    sampling_params: SamplingParams = Field(default_factory=SamplingParams)
    prompt_logprobs: bool | None = None
    topk_prompt_logprobs: int = Field(default=0, ge=0)
    type: Literal["sample"] = "sample"


class CreateSamplingSessionRequest(WireModel):
    """``POST /api/v1/create_sampling_session``."""

    session_id: str
    sampling_session_seq_id: int
    base_model: str | None = None
    model_path: str | None = None
    type: Literal["create_sampling_session"] = "create_sampling_session"


class SaveWeightsForSamplerRequest(WireModel):
    """``POST /api/v1/save_weights_for_sampler``: named with ``path``, ephemeral without."""

    model_id: str
    seq_id: int | None = None
    path: str | None = None
    sampling_session_seq_id: int | None = None
    kind: Literal["snapshot", "inflight"] = "snapshot"
    ttl_seconds: int | None = None
    user_metadata: dict[str, str] | None = None
    type: Literal["save_weights_for_sampler"] = "save_weights_for_sampler"


class RetrieveFutureRequest(WireModel):
    """``POST /api/v1/retrieve_future``.

    ``known_state`` is ours: the state the client already shows. Our server then answers as soon
    as it differs, so that a card goes from queued to running without a second channel. Other
    servers ignore it.
    """

    request_id: str
    allow_metadata_only: bool = False
    known_state: str | None = None
