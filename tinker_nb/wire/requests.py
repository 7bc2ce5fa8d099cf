"""JSON bodies of the official protocol's requests (sections 1 and 2 of the protocol)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SecretStr, field_serializer, model_validator

from tinker_nb.wire.base import WireModel
from tinker_nb.wire.data import ModelInput
from tinker_nb.wire.params import (
    AdamParams,
    DimuonParams,
    LoraConfig,
    OptimizerConfig,
    SamplingParams,
)
from tinker_nb.wire.tensors import JsonTensor


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
    adam_params: AdamParams | None = Field(default_factory=AdamParams)
    optimizer_params: DimuonParams | None = None
    type: Literal["optim_step"] = "optim_step"

    @model_validator(mode="before")
    @classmethod
    def _null_means_default(cls, body: Any) -> Any:
        if isinstance(body, dict) and body.get("optimizer_params"):
            return {"adam_params": None, **body}
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
    prompt_logprobs_last_n: int | None = Field(default=None, ge=1)
    topk_prompt_logprobs: int = Field(default=0, ge=0)
    topk_sample_logprobs: int = Field(default=0, ge=0)
    target_prompt_logprobs: JsonTensor | None = None
    prompt_alt_tokens_k: int = Field(default=0, ge=0)
    record_stability_info: bool = False
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


class SaveWeightsRequest(WireModel):
    """``POST /api/v1/save_weights``: weights and optimizer state, to train on from."""

    model_id: str
    seq_id: int | None = None
    path: str
    ttl_seconds: int | None = None
    overwrite: bool = False
    user_metadata: dict[str, str] | None = None
    type: Literal["save_weights"] = "save_weights"


class SaveWeightsExternalRequest(WireModel):
    """``POST /api/v1/save_weights_external``: files to download."""

    model_id: str
    seq_id: int | None = None
    path: str
    ttl_seconds: int | None = None
    age_encryption_recipients: list[str] | None = None
    type: Literal["save_weights_external"] = "save_weights_external"


class LoadWeightsRequest(WireModel):
    """``POST /api/v1/load_weights``: into a model, or as a new one (``session_id``)."""

    path: str
    optimizer: bool
    weights_access_token: SecretStr | None = None
    model_id: str | None = None
    seq_id: int | None = None
    session_id: str | None = None
    model_seq_id: int | None = None
    base_model: str | None = None
    user_metadata: dict[str, Any] | None = None
    optimizer_config: OptimizerConfig | None = None
    type: Literal["load_weights"] = "load_weights"

    @field_serializer("weights_access_token", when_used="json-unless-none")
    def _only_on_the_wire(self, token: SecretStr) -> str:
        return token.get_secret_value()


class UnloadModelRequest(WireModel):
    """``POST /api/v1/unload_model``."""

    model_id: str
    seq_id: int | None = None
    type: Literal["unload_model"] = "unload_model"


class CustomLossInput(WireModel):
    """One input of a custom loss, and how many dimensions it has."""

    name: str
    rank: Literal[0, 1, 2]


class CustomLossNode(WireModel):
    """One step of a traced loss, as data."""

    op: str
    name: str
    target: str
    args: list[Any] = Field(default_factory=list)
    kwargs: dict[str, Any] = Field(default_factory=dict)


class CustomLossGraph(WireModel):
    """A traced loss, as data; nothing in it is code."""

    format: Literal[1] = 1
    nodes: list[CustomLossNode]


class CreateCustomLossRequest(WireModel):
    """``POST /api/v1/create_custom_loss``."""

    session_id: str
    custom_loss_seq_id: int
    name: str
    inputs: list[CustomLossInput]
    graph: CustomLossGraph
    type: Literal["create_custom_loss"] = "create_custom_loss"


class RetrieveFutureRequest(WireModel):
    """``POST /api/v1/retrieve_future``.

    ``known_state`` is ours: the state the client already shows. Our server then answers as soon
    as it differs, so that a card goes from queued to running without a second channel. Other
    servers ignore it.
    """

    request_id: str
    allow_metadata_only: bool = False
    known_state: str | None = None


class CancelFutureRequest(WireModel):
    """``POST /api/v1/cancel_future``."""

    request_id: str


class FuturesTarget(WireModel):
    """Whose futures a batch poll is about; the clone's number is ``seq_id`` div 10⁹."""

    sampling_session_id: str
    cloned_sampler_id: int = 0
    type: Literal["sampling_session"] = "sampling_session"


class RetrieveFuturesRequest(WireModel):
    """``POST /api/v1/retrieve_futures``: which of many are ready (section 3.7 of the protocol)."""

    target: FuturesTarget
    prev_cursor: int = 0
    timeout: float | None = None
    retrieved_request_ids: list[str] = Field(default_factory=list)
