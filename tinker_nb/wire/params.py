"""Parameters a user sets: optimizer, sampling, LoRA."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.base import WireModel


class UserModel(WireModel):
    """A JSON object that users make by hand: a misspelt field must not pass in silence.

    Reading one from the wire stays tolerant, as for every `WireModel`.
    """

    def __init__(self, /, **fields: Any) -> None:
        known = type(self).model_fields
        unknown = next((name for name in fields if name not in known), None)
        if unknown is not None:
            raise InvalidInputError(_no_such_field(type(self).__name__, unknown, list(known)))
        super().__init__(**fields)

    # As in pydantic's own base: what is read is not made by calling the class.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


def _no_such_field(owner: str, name: str, known: list[str]) -> str:
    from difflib import get_close_matches  # rarely needed, and slow to import

    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}."
    return f"{owner} has no field {name!r}; {hint}"


class AdamParams(UserModel):
    """One AdamW step. Defaults are the protocol's (section 2.5).

    Parameters
    ----------
    learning_rate
        Step size.
    beta1, beta2
        Decay of the first and second moments.
    eps
        Added to the root of the second moment.
    weight_decay
        Decoupled, as in AdamW (Loshchilov & Hutter 2019).
    grad_clip_norm
        Largest global norm of the gradient; 0 is off.
    """

    learning_rate: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    eps: float = Field(default=1e-12, ge=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    grad_clip_norm: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class DimuonParams(UserModel):
    """One step of the Dimuon optimizer (section 2.5).

    Parameters
    ----------
    learning_rate
        Step size.
    grad_clip_norm
        Largest global norm of the gradient; 0 is off.
    beta1
        Decay of the first moment.
    """

    learning_rate: float = Field(ge=0, allow_inf_nan=False)
    grad_clip_norm: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    type: Literal["dimuon"] = "dimuon"


class SamplingParams(UserModel):
    """How to draw tokens.

    Parameters
    ----------
    max_tokens
        Most tokens to draw; the server's own limit when not given.
    seed
        Makes the draw repeatable.
    stop
        Not given: stop at the model's end token. ``[]``: never stop before ``max_tokens``. A
        string, a list of strings or a list of token ids: stop there.
    temperature
        0 is greedy.
    top_k
        Draw from the k likeliest tokens; -1 is off.
    top_p
        Draw from the likeliest tokens that together reach this probability.
    """

    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None
    stop: str | list[str] | list[int] | None = None
    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    top_k: int = Field(default=-1, ge=-1)
    top_p: float = Field(default=1.0, gt=0, le=1)


class LoraConfig(UserModel):
    """Which adapter to train.

    Parameters
    ----------
    rank
        Rank of the two factors.
    seed
        Seed of their initial values.
    train_unembed, train_mlp, train_attn
        Which groups of layers get one.
    """

    rank: int = Field(default=32, ge=1)
    seed: int | None = None
    train_unembed: bool = True
    train_mlp: bool = True
    train_attn: bool = True


class OptimizerConfig(UserModel):
    """Which optimizer a model gets."""

    type: Literal["adamw", "dimuon"] = "adamw"
    version: int | None = None


class AdamOptimizerConfig(OptimizerConfig):
    """AdamW."""

    type: Literal["adamw"] = "adamw"


class DimuonOptimizerConfig(OptimizerConfig):
    """Dimuon."""

    type: Literal["dimuon"] = "dimuon"
    version: int | None = 1
