"""What a magic gives back: a handle on work in the background, with its card."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tinker_nb.client.cancelling import Cancellation
from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.states import FutureState
from tinker_nb.errors import ConfigurationError, TinkerError

if TYPE_CHECKING:
    from tinker_nb.notebook.state import NotebookState

T = TypeVar("T")
R = TypeVar("R")


class Handle(Generic[T]):
    """Work in the background. Await it for its result; its card shows how it goes.

    Parameters
    ----------
    state
        The notebook.
    future
        The work.
    in_cell
        Number of the cell that made it.
    only_awaited
        Whether the kernel's own loop does the work, so that a blocking wait would never end.
    stop
        How to stop it; giving up the future when not given.
    client
        What to work on with Python code: the `ServiceClient` or `TrainingClient` behind it.

    Examples
    --------
    >>> handle = %tinker_fb_async batch
    >>> output = await handle
    """

    def __init__(
        self,
        state: NotebookState,
        future: TinkerFuture[T],
        in_cell: int,
        *,
        only_awaited: bool = False,
        stop: Callable[[], object] | None = None,
        client: Any = None,
    ) -> None:
        self._state = state
        self.future = future
        self._in_cell = in_cell
        self._only_awaited = only_awaited
        self._stop = stop
        self.client = client
        self.was_seen = False

    @property
    def status(self) -> str:
        """Where the work is, in a word."""
        return self.future.state.value

    @property
    def failed(self) -> bool:
        """Whether it ended without a result, and not because somebody cancelled it."""
        return self.future.state in (FutureState.FAILED, FutureState.LOST)

    def done(self) -> bool:
        """Say whether it has ended."""
        return self.future.done()

    def cancel(self) -> Cancellation:
        """Give it up, and say what that did; false when it had ended already."""
        if self._stop is not None and not self.future.done():
            self._stop()
        return self.future.cancel()

    def result(self, timeout: float | None = None) -> T:
        """Wait in this cell, blocking it, and return the result; ``await`` keeps cards moving."""
        self.check_may_block()
        try:
            return self.future.result(timeout)
        finally:
            self._looked_at()

    def check_may_block(self) -> None:
        """Raise `ConfigurationError` when a blocking wait for it would never end."""
        if self._only_awaited and not self.future.done():
            raise ConfigurationError(
                "This work runs on the notebook's own loop, which a blocking wait would stop.",
                advice="Use `await` on the handle, or %tinker_wait at the left margin of a cell.",
            )

    async def _await(self) -> T:
        try:
            return await self.future
        finally:
            self._looked_at()

    def __await__(self) -> Generator[Any, None, T]:
        return self._await().__await__()

    def _looked_at(self) -> None:
        self.was_seen = self.was_seen or self.future.done()
        self._state.pump.flush()

    @property
    def error(self) -> TinkerError | None:
        """Why it failed, when it did."""
        return self.future.snapshot.error

    def __repr__(self) -> str:
        return f"<{self.future.kind} #{self.future.key}: {self.status}>"

    def _ipython_display_(self) -> None:
        # In the cell that made it, its card stands right above already.
        if self._state.cell_number() != self._in_cell:
            self._state.show_again(self)
