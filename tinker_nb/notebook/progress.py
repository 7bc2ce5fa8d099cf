"""A tqdm bar in the cell that made it, which ends as plain HTML and text."""

from __future__ import annotations

from html import escape
from typing import Any

from tqdm.std import tqdm as text_bar

from tinker_nb.notebook.board.display import choose_display, display

_BAR = (
    '<div style="font:13px system-ui,sans-serif;display:flex;gap:8px;align-items:center">'
    '<span style="flex:0 0 12em;height:8px;border:1px solid currentColor;border-radius:4px;'
    'overflow:hidden;opacity:.8"><span style="display:block;height:100%;width:{percent}%;'
    'background:currentColor"></span></span><span>{percent}% · {words}</span></div>'
)


class ProgressBar:
    """A bar for a known number of steps.

    In a notebook it is tqdm's widget; at its end the output becomes static, so that a saved
    notebook shows it without a kernel. Elsewhere it is tqdm's text bar.

    Parameters
    ----------
    total
        How many steps.
    label
        Stands before the bar.
    """

    def __init__(self, total: int, label: str) -> None:
        self._total = total
        self._label = label
        self._done = 0
        self._handle: Any = None
        self._bar: Any = None

    def show(self) -> None:
        """Appear in the output of the cell that runs."""
        self._bar = self._live_bar() if choose_display().is_live else self._text_bar()

    def _text_bar(self) -> Any:
        return text_bar(total=self._total, desc=self._label, unit="step", leave=True)

    def _live_bar(self) -> Any:
        # Loaded with the first bar: the widgets take longer than the rest of the extension.
        from tqdm.notebook import tqdm as widget_bar

        bar = widget_bar(total=self._total, desc=self._label, unit="step", display=False)
        bundle = {**self._bundle(""), **_view_of(bar.container)}
        self._handle = display(bundle, raw=True, display_id=True)
        return bar

    def advance(self, note: str) -> None:
        """Go one step on, with a few words beside the bar."""
        self._done += 1
        if self._bar is None:
            return
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(1)

    def close(self, words: str) -> None:
        """Take the final form."""
        if self._bar is None:
            return
        container = getattr(self._bar, "container", None)
        self._bar.refresh()
        self._bar.close()
        if self._handle is not None:
            self._handle.update(self._bundle(words), raw=True)
            _close_widget(container)

    def _bundle(self, words: str) -> dict[str, str]:
        percent = round(100 * self._done / max(self._total, 1))
        said = f"{self._label}: {self._done}/{self._total} steps" + (f" · {words}" if words else "")
        return {
            "text/html": _BAR.format(percent=percent, words=escape(said)),
            "text/plain": f"{percent}% · {said}",
        }


def _view_of(widget: Any) -> dict[str, Any]:
    bundle = widget._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    return {kind: value for kind, value in data.items() if kind.startswith("application/")}


def _close_widget(widget: Any) -> None:
    """Close a widget with all that belongs to it, so that no state is saved for it."""
    for part in (*getattr(widget, "children", ()), widget):
        inner = (getattr(part, "style", None), getattr(part, "layout", None), part)
        for each in inner:
            if each is not None:
                each.close()
