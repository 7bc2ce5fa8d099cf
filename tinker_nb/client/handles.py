"""Handles of samplers: a text that another process makes a client of. Holds no key."""

from __future__ import annotations

import base64
import binascii
import json
import random
from dataclasses import dataclass
from typing import Any

from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.states import FutureState
from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.responses import CreateSamplingSessionResponse

_CLONES = 10**9


@dataclass(frozen=True)
class SamplerHandle:
    """What a handle says."""

    base_url: str
    session_id: str
    sampling_session_id: str
    record_stability_info: bool = False


def to_text(handle: SamplerHandle) -> str:
    """Return a handle as url-safe text."""
    fields = {
        "session_id": handle.session_id,
        "sampling_session_id": handle.sampling_session_id,
        "record_stability_info": handle.record_stability_info,
        "holder": {"base_url": handle.base_url},
    }
    return base64.urlsafe_b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode()


def from_text(text: str) -> SamplerHandle:
    """Read a handle; raises `InvalidInputError` when the text is none."""
    try:
        fields: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text))
        return SamplerHandle(
            str(fields["holder"]["base_url"]),
            str(fields["session_id"]),
            str(fields["sampling_session_id"]),
            bool(fields.get("record_stability_info", False)),
        )
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError("This is no handle of a sampler.") from error


def made_elsewhere(handle: SamplerHandle) -> TinkerFuture[CreateSamplingSessionResponse]:
    """Return the future of a sampling session that is there already."""
    future: TinkerFuture[CreateSamplingSessionResponse] = TinkerFuture("CreateSamplingSession")
    known = CreateSamplingSessionResponse(sampling_session_id=handle.sampling_session_id)
    future._change(FutureState.DONE, result=known)
    return future


def first_seq_id() -> int:
    """Return where a copy of a sampler begins to count, so that no two copies meet.

    Each copy has a block of 10⁹ numbers of its own (section 2.6 of the protocol).
    """
    return random.randrange(1, _CLONES) * _CLONES  # noqa: S311  # spreads copies, guards nothing
