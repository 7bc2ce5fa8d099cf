"""The server's settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

#: The model that ships with the package, and the names that mean "whatever is served".
TINY_CHAT = "tiny-chat"
SERVED_ALIASES = frozenset({TINY_CHAT, "base"})

Device = Literal["auto", "cpu", "cuda", "mps"]
DType = Literal["auto", "float32", "bfloat16", "float16"]
Durability = Literal["step", "checkpoint"]
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


def _host_name(name: str) -> str:
    if not re.fullmatch(r"\[[0-9a-f:.]+\]|[^\s\[\]:@/?#\\]+", name := name.lower()):
        raise ValueError("a name or an address without port is wanted, IPv6 in brackets")
    return name


def _origin(origin: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+", origin := origin.lower()):
        raise ValueError("an origin such as https://example.org is wanted, without a path")
    return origin


HostName = Annotated[str, AfterValidator(_host_name)]
Origin = Annotated[str, AfterValidator(_origin)]


class Settings(BaseModel):
    """Everything that can be set; nothing changes after the start.

    Parameters
    ----------
    data_dir
        Where runs, futures and checkpoints are kept.
    model
        ``tiny-chat``, a Hugging Face directory, or a hub name.
    download
        Whether a hub name that is not in the local cache may be fetched.
    api_key
        What ``X-API-Key`` must hold; ``None`` opens the server to everybody who reaches it.
    listen_host
        The address listened at. The ``Host`` header of a request must name it, a loopback
        address, or one of ``allow_hosts``.
    allow_hosts
        More names that a ``Host`` header may hold, such as a proxy's.
    allow_origins
        Origins, such as ``https://example.org``, whose pages may call the server.
    max_body_bytes
        Largest request body.
    max_json_depth
        Deepest nesting of arrays and objects in a JSON body.
    max_request_tokens
        Most tokens one request may bring.
    max_request_data
        Most datums one request may bring.
    max_metadata_bytes
        Largest metadata one request may bring to be stored, as JSON.
    max_rank
        Largest LoRA rank.
    max_live_models
        Adapters kept in memory; others are parked on disk.
    device
        Where the model computes; ``auto`` takes the best there is.
    dtype
        Numbers of the base model; ``auto`` takes what suits the device.
    gradient_checkpointing
        Compute activations twice instead of keeping them: less memory, slower steps.
    durability
        ``step``: every acknowledged step survives a crash; ``checkpoint``: only saved checkpoints
        do, and steps are faster.
    poll_hold
        Seconds a long poll is held.
    batch_tokens
        Most tokens, padding included, that go through the model at once in training.
    batch_rows
        Most sequences that are drawn at once.
    session_timeout
        Seconds without a heartbeat after which a session has ended.
    idle_stop
        Seconds without a request or work after which the server stops by itself; ``None`` stays.
    linger
        Seconds without a request or work that it stays when its owner has gone.
    stop_grace
        Seconds that open requests get to be answered when the server stops.
    log_format
        ``text`` for people, ``json`` for machines: one object per line.
    log_level
        The least serious level that is logged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path
    model: str = TINY_CHAT
    download: bool = False
    api_key: SecretStr | None = None
    listen_host: str = "127.0.0.1"
    allow_hosts: tuple[HostName, ...] = ()
    allow_origins: tuple[Origin, ...] = ()
    max_body_bytes: int = Field(default=64 * 2**20, ge=1)
    max_json_depth: int = Field(default=64, ge=8)
    max_request_tokens: int = Field(default=2**22, ge=1)
    max_request_data: int = Field(default=2**14, ge=1)
    max_metadata_bytes: int = Field(default=2**16, ge=1)
    max_rank: int = Field(default=256, ge=1)
    max_live_models: int = Field(default=32, ge=1)
    device: Device = "auto"
    dtype: DType = "auto"
    gradient_checkpointing: bool = False
    durability: Durability = "step"
    poll_hold: float = Field(default=25.0, gt=0)
    batch_tokens: int = Field(default=4096, ge=1)
    batch_rows: int = Field(default=64, ge=1)
    session_timeout: float = Field(default=300.0, gt=0)
    idle_stop: float | None = Field(default=None, gt=0)
    linger: float = Field(default=0.0, ge=0)
    stop_grace: float = Field(default=3.0, gt=0)
    log_format: LogFormat = "text"
    log_level: LogLevel = "warning"
