"""The ids that calls are for, while what they name is still being made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from tinker_nb.client.futures import TinkerFuture
from tinker_nb.errors import FutureCancelledError, InvalidInputError, TinkerError
from tinker_nb.wire.results import CreateModelResponse


@dataclass(frozen=True)
class Known:
    """An id that is there already."""

    id: str

    async def resolve(self) -> str:
        """Return the id."""
        return self.id


class CreatedModel:
    """A model that may still be being created."""

    def __init__(self, created: TinkerFuture[CreateModelResponse]) -> None:
        self._created = created

    async def resolve(self) -> str:
        """Return the model's id."""
        try:
            return (await self._created).model_id
        except FutureCancelledError as error:
            raise FutureCancelledError("The model's creation was cancelled.") from error
        except TinkerError as error:
            raise InvalidInputError(
                f"There is no model, for its creation failed: {error.message}",
                fault=error.fault,
                advice=error.advice,
            ) from error


class HasSession(Protocol):
    """An answer that names a sampling session."""

    @property
    def sampling_session_id(self) -> str | None:
        """Its id."""
        ...


class SamplingSession:
    """A sampling session that may still be being made."""

    def __init__(self, session: TinkerFuture[Any]) -> None:
        self._session = session

    async def resolve(self) -> str:
        """Return the sampling session's id."""
        try:
            made: HasSession = await self._session
        except TinkerError as error:
            raise InvalidInputError(
                f"There is nothing to sample from: {error.message}",
                fault=error.fault,
                advice=error.advice,
            ) from error
        if made.sampling_session_id is None:
            raise InvalidInputError("The server saved the weights but gave no sampling session.")
        return made.sampling_session_id
