"""The live form of a card: one widget for all its rows. Imports anywidget, so import it late."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from tinker_nb.notebook.board.batch import BoardView
from tinker_nb.notebook.board.static import GLYPHS, VIEW_MIME, Bundle
from tinker_nb.notebook.board.view import RowView

CancelRequest = Callable[[object], None]
_HERE = Path(__file__).parent


class LiveBoard(anywidget.AnyWidget):
    """A board of rows in the browser.

    Changes travel as custom messages with the changed rows only; a view asks for all rows when it
    starts, so it finds its way back after the page was reloaded. The synchronised traits are
    written at the end only, for views that start when nothing changes any more.

    Parameters
    ----------
    clock
        Returns seconds since the epoch.
    on_cancel
        Called with a row's key, or ``"all"``, when somebody presses Cancel; on whichever thread the
        front end's messages come.
    """

    _esm = _HERE / "live.js"
    _css = _HERE / "live.css"
    rows: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    head: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)

    def __init__(self, clock: Callable[[], float], on_cancel: CancelRequest) -> None:
        super().__init__()
        self._clock = clock
        self._on_cancel = on_cancel
        # A view may ask on another thread while the pump sends; their order must be kept.
        self._order = threading.RLock()
        self._sent: dict[int, dict[str, Any]] = {}
        self._head: dict[str, Any] = {}
        self._pages = 0
        self.on_msg(self._receive)

    @property
    def view(self) -> Bundle:
        """The part of a bundle that shows the widget."""
        data = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {VIEW_MIME: data}

    @property
    def was_reloaded(self) -> bool:
        """Whether another page shows it; display updates do not reach a page loaded later."""
        return self._pages > 1

    def patch(self, rows: Iterable[RowView], board: BoardView) -> None:
        """Send the rows that look different from what was sent before."""
        with self._order:
            changed = {row.key: row_payload(row) for row in rows}
            changed = {key: row for key, row in changed.items() if self._sent.get(key) != row}
            head = head_payload(board)
            if changed or head != self._head:
                self._sent |= changed
                self._head = head
                self._send_rows(list(changed.values()))

    def settle(self) -> None:
        """Keep the last rows as the widget's state."""
        with self._order, self.hold_sync():
            self.rows = list(self._sent.values())
            self.head = self._head

    def close(self) -> None:
        """Close the widget and its Layout, which ipywidgets would leave behind."""
        layout = self.layout
        super().close()
        if layout is not None:
            layout.close()

    def _send_rows(self, rows: list[dict[str, Any]], full: bool = False) -> None:
        self.send({"rows": rows, "head": self._head, "now": self._clock(), "full": full})

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        match content:
            case {"hello": True}:
                self._pages += 1
            case {"ask": "snapshot"}:
                with self._order:
                    self._send_rows(list(self._sent.values()), full=True)
            case {"cancel": key}:
                self._on_cancel(key)


def row_payload(row: RowView) -> dict[str, Any]:
    """Return a row for the browser: what does not tick, and where its clocks start."""
    return {
        "key": row.key,
        "title": row.title,
        "state": row.state,
        "tone": row.tone,
        "glyph": GLYPHS[row.tone],
        "open": row.is_open,
        "model": row.model,
        "modelShort": row.model_short,
        "started": row.started,
        "ended": row.ended,
        "heard": row.heard,
        "answered": row.was_answered,
        "line": row.line,
        "steps": [{"name": step.name, "mark": step.mark, "at": step.at} for step in row.steps],
    }


def head_payload(board: BoardView) -> dict[str, Any]:
    """Return what stands over the rows, for the browser."""
    return {
        "title": board.title,
        "state": board.state,
        "tone": board.tone,
        "glyph": GLYPHS[board.tone],
        "open": board.is_open,
        "summary": board.summary,
        "total": board.total,
        "finished": board.finished,
        "started": board.started,
        "ended": board.ended,
    }
