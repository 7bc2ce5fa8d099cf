"""The server's settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

#: The model that ships with the package, and the names that mean "whatever is served".
TINY_CHAT = "tiny-chat"
SERVED_ALIASES = frozenset({TINY_CHAT, "base"})


class Settings(BaseModel):
    """Everything that can be set; nothing changes after the start.

    Parameters
    ----------
    data_dir
        Where runs, futures and checkpoints are kept.
    model
        ``tiny-chat``, a Hugging Face directory, or a hub name.
    api_key
        What ``X-API-Key`` must hold; ``None`` opens the server to everybody who reaches it.
    max_body_bytes
        Largest request body.
    max_rank
        Largest LoRA rank.
    poll_hold
        Seconds a long poll is held.
    batch_tokens
        Most tokens, padding included, that go through the model at once in training.
    batch_rows
        Most sequences that are drawn at once.
    stop_grace
        Seconds that open requests get to be answered when the server stops.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path
    model: str = TINY_CHAT
    api_key: SecretStr | None = None
    max_body_bytes: int = Field(default=64 * 2**20, ge=1)
    max_rank: int = Field(default=256, ge=1)
    poll_hold: float = Field(default=25.0, gt=0)
    batch_tokens: int = Field(default=4096, ge=1)
    batch_rows: int = Field(default=64, ge=1)
    stop_grace: float = Field(default=3.0, gt=0)
