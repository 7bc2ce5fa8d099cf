"""The quickstart in JupyterLab, cell by cell, as its reader runs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import REPO

if TYPE_CHECKING:
    from tests.browser.conftest import NotebookPage

pytestmark = [pytest.mark.browser, pytest.mark.slow]
QUICKSTART = REPO / "notebooks" / "01_quickstart.ipynb"
AT_ONCE = 1.0  # seconds: the promise of the first page
LONG = 120_000  # milliseconds


def cell_of(beginning: str) -> int:
    """Return the number of the code cell that begins like this."""
    cells = nbformat.read(QUICKSTART, as_version=4).cells
    (index,) = [i for i, cell in enumerate(cells) if cell.source.startswith(beginning)]
    return index


def run_at_once(notebook: NotebookPage, index: int) -> None:
    """Run a cell that starts work; it must return while the work goes on."""
    began = time.monotonic()
    notebook.run(index)
    assert time.monotonic() - began < AT_ONCE, f"cell {index} did not return at once"


def scroll_to(notebook: NotebookPage, index: int) -> None:
    notebook.output(index).scroll_into_view_if_needed()


def test_the_quickstart_as_its_reader_sees_it(open_notebook: Callable[..., NotebookPage]) -> None:
    notebook = open_notebook(name="quickstart.ipynb", copy_of=QUICKSTART)
    notebook.use_theme(dark=False)  # another test may have left the other one
    notebook.run(cell_of("%load_ext"))  # imports for the first time, so not measured
    connect = notebook.output(cell_of("%load_ext"))
    expect(connect).to_contain_text("running")

    run_at_once(notebook, cell_of("%%tinker_sample"))
    notebook.screenshot("quickstart-starting-light")
    run_at_once(notebook, cell_of("from tinker_nb.data"))
    notebook.run(cell_of("examples ="))
    run_at_once(notebook, cell_of("lora ="))
    run_at_once(notebook, cell_of("fb ="))
    expect(connect).to_contain_text("ready at http://127.0.0.1", timeout=LONG)
    expect(notebook.output(cell_of("%%tinker_sample"))).to_contain_text("done", timeout=LONG)
    expect(notebook.output(cell_of("fb =")).get_by_text("done").first).to_be_visible(timeout=LONG)
    notebook.run(cell_of("output ="))

    train = cell_of("run =")
    run_at_once(notebook, train)
    output = notebook.output(train)
    expect(output).to_contain_text("running", timeout=LONG)
    expect(output).to_contain_text("step ", timeout=LONG)
    run_at_once(notebook, cell_of("print("))
    expect(notebook.output(cell_of("print("))).to_contain_text("42")
    scroll_to(notebook, train)
    notebook.screenshot("quickstart-training-light")
    notebook.use_theme(dark=True)
    notebook.screenshot("quickstart-training-dark")

    notebook.run(cell_of("%tinker_wait"))
    expect(output).to_contain_text("done", timeout=LONG)
    expect(output).to_contain_text("100%", timeout=LONG)
    notebook.run(cell_of("import matplotlib"))
    run_at_once(notebook, cell_of("after ="))
    notebook.run(cell_of("base_answers ="))
    expect(notebook.output(cell_of("after ="))).to_contain_text("20 done", timeout=LONG)
    scroll_to(notebook, cell_of("after ="))
    notebook.screenshot("quickstart-answers-dark")
    notebook.use_theme(dark=False)
    scroll_to(notebook, train)
    notebook.screenshot("quickstart-done-light")
    notebook.run(cell_of("base_right ="))
    expect(notebook.output(cell_of("base_right ="))).to_contain_text("right before: 0 of 20")

    saved = notebook.save()
    assert "widgets" not in saved.metadata or not saved.metadata.widgets
    bundles = [out.data for cell in saved.cells for out in cell.get("outputs", []) if "data" in out]
    assert not [b for b in bundles if "application/vnd.jupyter.widget-view+json" in b]
    assert [b for b in bundles if "train · done" in b.get("text/plain", "")]
