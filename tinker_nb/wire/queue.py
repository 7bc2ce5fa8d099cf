"""What our own server tells of its queue; other servers have no such endpoint."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tinker_nb.wire.base import WireModel


class QueuedRequest(WireModel):
    """An unfinished request.

    ``place`` is the number of requests that go before it, ``reason`` says so in words, and
    ``eta_seconds`` is foreseen from measured speeds, where there are some.
    """

    request_id: str
    kind: str
    model_id: str | None = None
    state: Literal["queued", "running"]
    place: int | None = None
    reason: str | None = None
    eta_seconds: float | None = None
    waited_seconds: float


class QueueResponse(WireModel):
    """``GET /api/v1/queue``, and the data of each event of ``GET /api/v1/queue/events``."""

    requests: list[QueuedRequest] = Field(default_factory=list)
    live_models: int = 0
