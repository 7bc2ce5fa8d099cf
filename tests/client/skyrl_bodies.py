"""The bodies that `stub_skyrl` reads, as strictly as SkyRL; other fields are left unread."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, StringConstraints

NAMES = r"^[A-Za-z0-9_-]+$"
Name = Annotated[str, StringConstraints(pattern=NAMES, max_length=255)]


class Lora(BaseModel):
    rank: int
    seed: int | None = None


class CreateModel(BaseModel):
    session_id: str
    base_model: str
    lora_config: Lora
    model_role: str = "policy"


class Tensor(BaseModel):
    data: list[int] | list[float]


class Example(BaseModel):
    model_input: dict[str, list[dict[str, Any]]]
    loss_fn_inputs: dict[str, Tensor]


class Input(BaseModel):
    data: list[Example]
    loss_fn: Literal["cross_entropy", "importance_sampling", "ppo", "cispo", "ppo_critic", "dppo"]
    loss_fn_config: dict[str, float] | None = None


class ForwardBackward(BaseModel):
    model_id: str
    forward_backward_input: Input


class Forward(BaseModel):
    model_id: str
    forward_input: Input


class Adam(BaseModel):
    learning_rate: float = 1e-4


class OptimStep(BaseModel):
    model_id: str
    adam_params: Adam


class Params(BaseModel):
    max_tokens: int | None = None
    stop: list[int] | list[str] | None = None


class Sample(BaseModel):
    sampling_session_id: str
    seq_id: int
    num_samples: int = 1
    prompt: dict[str, list[dict[str, Any]]]
    sampling_params: Params
    prompt_logprobs: bool | None = None


class Save(BaseModel):
    model_id: str
    path: Name


class SaveForSampler(BaseModel):
    model_id: str
    path: Name | None = None
    sampling_session_seq_id: int | None = None
    seq_id: int | None = None


class Load(BaseModel):
    model_id: str
    path: str


class OfModel(BaseModel):
    model_id: str


class SamplingSession(BaseModel):
    session_id: str
    sampling_session_seq_id: int
    base_model: str | None = None
    model_path: str | None = None
