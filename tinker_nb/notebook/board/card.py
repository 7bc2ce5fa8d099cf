"""A card: what one call of a magic shows, from its first moment to its final, static form."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

from tinker_nb.client.states import FutureSnapshot
from tinker_nb.notebook.board.batch import BoardView, board_view
from tinker_nb.notebook.board.display import Display, choose_display
from tinker_nb.notebook.board.pump import Pump
from tinker_nb.notebook.board.static import Bundle, static_bundle
from tinker_nb.notebook.board.view import Describe, RowView, describe_result, row_view
from tinker_nb.notebook.board.words import clean

if TYPE_CHECKING:
    from tinker_nb.notebook.board.live import LiveBoard


class Card:
    """The status card of one or many futures.

    `show` it in the cell that made the futures and pass every later picture of them to `update`,
    from any thread. When all have ended, the output becomes static and the widget is closed.

    Parameters
    ----------
    snapshots
        The futures, as they are now.
    pump
        The kernel's pump.
    title
        What to call them, together or the only one; made of their kinds when not given.
    describe
        Words a finished future's result in one line.
    on_cancel
        Called with a future's key, on the pump's loop, when somebody presses its Cancel button.
    display
        Where to appear; the running front end when not given.
    clock
        Returns seconds since the epoch.

    Examples
    --------
    >>> card = Card([future.snapshot], pump, on_cancel=lambda key: future.cancel())
    >>> card.show()
    >>> future.subscribe(card.update)
    """

    def __init__(
        self,
        snapshots: Iterable[FutureSnapshot],
        pump: Pump,
        *,
        title: str | None = None,
        describe: Describe = describe_result,
        on_cancel: Callable[[int], object] | None = None,
        display: Display | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.title = title
        self._pump = pump
        self._describe = describe
        self._on_cancel = on_cancel
        self._display = display or choose_display()
        self._clock = clock
        self._lock = threading.Lock()
        self._pending = {each.key: each for each in snapshots}
        # A card of one has no heading of its own: its only row bears the title.
        self._row_title = clean(title, 120) if title and len(self._pending) == 1 else None
        self._ended = {key for key, each in self._pending.items() if each.state.is_final}
        self._rows: dict[int, RowView] = {}
        self._board: LiveBoard | None = None
        self._is_shown = False
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether it has its final form."""
        return self._is_over

    def show(self) -> None:
        """Appear in the output of the cell that runs."""
        self._read_pending()
        self._is_shown = True
        board = self._overview()
        if not board.is_open:
            self._is_over = True
            self._display.show(self._static())
            return
        is_live = self._display.is_live and self._pump.is_ready()
        if is_live:
            self._board = self._display.board(self._clock, self._request_cancel)
        self._display.show(self._first_bundle(board))
        if is_live:
            self._pump.watch(self)

    def update(self, *snapshots: FutureSnapshot) -> None:
        """Take newer pictures of its futures; safe on any thread, drawn by the pump."""
        with self._lock:
            news = [each for each in snapshots if self._is_news(each)]
            self._pending |= {each.key: each for each in news}
            ended = {each.key for each in news if each.state.is_final}
            self._ended |= ended
        if news:
            self._pump.mark(self, urgent=bool(ended))

    def draw(self) -> bool:
        """Show what has changed; called by the pump."""
        if self._is_over or not self._is_shown:
            return not self._is_over
        changed = self._read_pending()
        board = self._overview()
        if not board.is_open:
            self._finish()
        elif changed:
            self._show_progress(changed, board)
        return board.is_open

    def broke(self, error: Exception) -> None:
        """Say in the card's place that it could not be drawn."""
        self._is_over = True
        text = clean(
            f"This card could not be drawn ({type(error).__name__}: {error}). "
            "Its requests go on; their handles have the results."
        )
        with contextlib.closing(self._board) if self._board else contextlib.nullcontext():
            self._display.finish({"text/plain": text, "text/html": f"<div>{escape(text)}</div>"})

    def _is_news(self, snapshot: FutureSnapshot) -> bool:
        # Pictures may overtake each other between threads; nothing comes after an end.
        return not self._is_over and snapshot.key not in self._ended

    def _read_pending(self) -> list[RowView]:
        with self._lock:
            pending, self._pending = self._pending, {}
        now = self._clock()
        rows = [self._row(each, now) for each in pending.values()]
        self._rows |= {row.key: row for row in rows}
        return rows

    def _row(self, snapshot: FutureSnapshot, now: float) -> RowView:
        row = row_view(snapshot, now, self._describe)
        return replace(row, title=self._row_title) if self._row_title else row

    def _overview(self) -> BoardView:
        return board_view(list(self._rows.values()), self._clock(), self.title)

    def _static(self) -> Bundle:
        return static_bundle(list(self._rows.values()), self._clock(), self.title)

    def _first_bundle(self, board: BoardView) -> Bundle:
        if self._board is None:
            return self._static()
        self._board.patch(self._rows.values(), board)
        return {**self._static(), **self._board.view}

    def _show_progress(self, changed: list[RowView], board: BoardView) -> None:
        if self._board is None:
            self._display.update(self._static())
        else:
            self._board.patch(changed, board)

    def _finish(self) -> None:
        self._is_over = True
        self._display.finish(self._static())
        if self._board is not None:
            self._close_board(self._board, self._overview())

    def _close_board(self, live: LiveBoard, board: BoardView) -> None:
        self._board = None
        if live.was_reloaded:
            # The new page never hears of the display id: leave it the widget, in its last state.
            live.patch(self._rows.values(), board)
            live.settle()
        else:
            live.close()

    def _request_cancel(self, key: object) -> None:
        """Pass a press of Cancel on to the loop: this may run on any thread."""
        loop = self._pump.loop
        if self._on_cancel is None or loop is None:
            return
        for wanted in self._open_keys(key):
            with contextlib.suppress(RuntimeError):  # The kernel is shutting down.
                loop.call_soon_threadsafe(self._on_cancel, wanted, context=contextvars.Context())

    def _open_keys(self, key: object) -> list[int]:
        going = [row.key for row in list(self._rows.values()) if row.is_open]
        return going if key == "all" else [each for each in going if each == key]
