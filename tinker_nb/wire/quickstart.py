"""The quick-start dialect: chat in, plain JSON out, and the rule that tells it apart.

On the paths that both dialects use, the body decides, and `is_official` is the only place that
says how.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, Field, field_validator

from tinker_nb.wire.base import WireModel
from tinker_nb.wire.params import SamplingParams
from tinker_nb.wire.protobuf import CONTENT_TYPE

_OFFICIAL_FIELDS = {"seq_id", "forward_backward_input", "forward_input"}
_OFFICIAL_SAMPLE_FIELDS = {"sampling_session_id", "model_path", "seq_id"}
_OFFICIAL_WEIGHTS_FIELDS = {"seq_id", "type", "session_id", "sampling_session_seq_id"}
_WEIGHTS = {"save_weights", "save_weights_for_sampler", "load_weights"}


def is_official(path: str, content_type: str, body: Any) -> bool:
    """Say whether a request on a shared path is of the official protocol.

    Protobuf is official. JSON is official when it carries ``seq_id``, ``forward_backward_input``
    or ``forward_input``; on ``asample`` when it carries ``sampling_session_id``, ``model_path``
    or ``seq_id``, or a ``base_model`` with a ``prompt`` made of chunks; on the paths of weights
    when it carries ``seq_id``, ``type`` or a session.

    Parameters
    ----------
    path
        The path's last segment, such as ``forward_backward``.
    content_type
        The request's content type, parameters allowed.
    body
        The parsed JSON body; ignored for protobuf.
    """
    if content_type.partition(";")[0].strip().lower() == CONTENT_TYPE:
        return True
    if not isinstance(body, dict):
        return False
    if path == "asample":
        return bool(_OFFICIAL_SAMPLE_FIELDS & body.keys()) or _is_chunk_prompt(body)
    if path in _WEIGHTS:
        return bool(_OFFICIAL_WEIGHTS_FIELDS & body.keys())
    return bool(_OFFICIAL_FIELDS & body.keys())


def _is_chunk_prompt(body: dict[str, Any]) -> bool:
    prompt = body.get("prompt")
    return (
        "base_model" in body
        and "model_id" not in body
        and isinstance(prompt, dict)
        and "chunks" in prompt
    )


class ChatMessage(WireModel):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatForwardBackwardRequest(WireModel):
    """``POST /api/v1/forward_backward[_async]`` with conversations."""

    model_id: str
    data: list[list[ChatMessage]] = Field(min_length=1)
    loss_fn: str = "cross_entropy"

    @field_validator("data")
    @classmethod
    def _no_empty_conversation(cls, data: list[list[ChatMessage]]) -> list[list[ChatMessage]]:
        for index, conversation in enumerate(data):
            if not conversation:
                raise ValueError(f"conversation {index} has no messages")
        return data


class ChatAdamParams(WireModel):
    """Adam parameters with the quick-start dialect's own defaults."""

    learning_rate: float = Field(default=5e-4, ge=0, allow_inf_nan=False)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    eps: float = Field(default=1e-8, ge=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    grad_clip_norm: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class ChatOptimStepRequest(WireModel):
    """``POST /api/v1/optim_step[_async]``."""

    model_id: str
    adam_params: ChatAdamParams = Field(default_factory=ChatAdamParams)


class AddLoraRequest(WireModel):
    """``POST /api/v1/add_lora[_async]``."""

    base_model: str = "base"
    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0, allow_inf_nan=False)


class RemoveLoraRequest(WireModel):
    """``POST /api/v1/remove_lora[_async]``."""

    model_id: str = Field(validation_alias="model_id")

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> RemoveLoraRequest:
        """Read the body; ``adapter_id`` is an older name of ``model_id``."""
        return cls.model_validate({"model_id": body.get("adapter_id"), **body})


class ChatSaveRequest(WireModel):
    """``POST /api/v1/save_weights[_async]`` and ``/save_weights_for_sampler[_async]``."""

    model_id: str
    path: str | None = Field(default=None, validation_alias=AliasChoices("path", "name"))
    overwrite: bool = False


class ChatLoadRequest(WireModel):
    """``POST /api/v1/load_weights[_async]``."""

    model_id: str
    path: str
    optimizer: bool = False


class ChatSampleRequest(WireModel):
    """``POST /api/v1/sample`` and ``/asample`` with text, messages or chunks."""

    model_id: str | None = None
    base_model: str | None = None
    prompts: list[str] | None = None
    prompt: Any = None
    messages: list[ChatMessage] | None = None
    num_samples: int = Field(default=1, ge=1, le=1024)
    sampling_params: SamplingParams = Field(default_factory=lambda: SamplingParams(max_tokens=50))


class RetrieveRequest(WireModel):
    """``POST /retrieve_future`` of the quick-start dialect."""

    request_id: str
