"""What it takes to collect a result later, also from another process. Holds no key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tinker_nb.client.exchange import Accepted
from tinker_nb.client.kinds import kind_named
from tinker_nb.errors import InvalidInputError


@dataclass(frozen=True)
class FutureReference:
    """Where a result lies.

    Parameters
    ----------
    base_url
        The server.
    kind
        What was asked, such as ``ForwardBackward``.
    request_ids
        The server's ids; a call with much data has several.
    sample_sequence_ids
        Per request, the ids of the sequences drawn.
    """

    base_url: str
    kind: str
    request_ids: tuple[str, ...]
    sample_sequence_ids: tuple[tuple[str, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FutureReference:
        """Read it from a JSON object.

        Raises
        ------
        InvalidInputError
            A field is missing.
        """
        try:
            return cls(
                str(values["base_url"]),
                str(values["kind"]),
                tuple(values["request_ids"]),
                tuple(tuple(ids) for ids in values.get("sample_sequence_ids", ())),
            )
        except (KeyError, TypeError) as error:
            raise InvalidInputError("This is no reference to a future.") from error

    def accepted(self) -> list[Accepted]:
        """Return what the server said when it took the parts of the call."""
        names = [*self.sample_sequence_ids, *[()] * len(self.request_ids)]
        return [
            Accepted(request_id, None, ids)
            for request_id, ids in zip(self.request_ids, names, strict=False)
        ]


def reference_to(base_url: str, request_id: str | Sequence[str], kind: str) -> FutureReference:
    """Return the reference to a request; raises `InvalidInputError` on a wrong kind or no id."""
    ids = (request_id,) if isinstance(request_id, str) else tuple(request_id)
    if not ids or not all(ids):
        raise InvalidInputError("There is no request_id to collect.")
    return FutureReference(base_url, kind_named(kind).name, ids)
