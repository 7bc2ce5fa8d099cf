"""Handles of samplers: a text that another process makes a client of. Holds no key."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tinker_nb.client.dialects.official import Dialect
from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.server import Greeting
from tinker_nb.client.states import FutureState
from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.responses import CreateSamplingSessionResponse

_CLONES = 10**9


@dataclass(frozen=True)
class SamplerHandle:
    """What a handle says.

    Parameters
    ----------
    base_url
        The server.
    session_id, sampling_session_id
        What the copy is kept alive by, and draws from.
    record_stability_info
        Whether its samples carry what the loss ``stable_reinforce`` needs.
    base_model
        Its name, for clients that do not ask for it; empty where nobody says it.
    headers
        Headers to send with each request. Only read: ours may be secrets, and are never written.
    """

    base_url: str
    session_id: str
    sampling_session_id: str
    record_stability_info: bool = False
    base_model: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def to_text(handle: SamplerHandle, greeting: Greeting | None) -> str:
    """Return a handle as url-safe text, with all that the official SDK makes its client from.

    Parameters
    ----------
    handle
        What it says.
    greeting
        What the server said of itself; a copy there does not ask again.
    """
    known = greeting or Greeting(Dialect())
    fields = {
        "session_id": handle.session_id,
        "sampling_session_id": handle.sampling_session_id,
        "base_model": handle.base_model,
        "record_stability_info": handle.record_stability_info,
        "holder": {
            "base_url": handle.base_url,
            "default_headers_overrides": {},
            "client_config": known.config.to_wire(),
            "client_dynamic_config": {"sample_cancel_enabled": known.can_cancel},
        },
    }
    return base64.urlsafe_b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode()


def from_text(text: str) -> SamplerHandle:
    """Read a handle; raises `InvalidInputError` when the text is none."""
    try:
        fields: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text))
        holder: dict[str, Any] = fields["holder"]
        return SamplerHandle(
            str(holder["base_url"]),
            str(fields["session_id"]),
            str(fields["sampling_session_id"]),
            bool(fields.get("record_stability_info", False)),
            str(fields.get("base_model", "")),
            dict(holder.get("default_headers_overrides") or {}),
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

    Each copy has a block of 10⁹ numbers of its own (section 2.6 of the protocol). It is drawn from
    the system: workers that all seed ``random`` alike would draw the same one.
    """
    return (1 + secrets.randbelow(_CLONES - 1)) * _CLONES
