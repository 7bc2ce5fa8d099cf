"""JupyterLab and Chromium for tests that look at the notebook the way a person does."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, sync_playwright

REPO = Path(__file__).parents[2]
SCREENSHOTS = REPO / "build" / "screenshots"
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_KERNEL_IS_IDLE = """() => {
    const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
    return context?.session?.kernel?.status === 'idle';
}"""
# Without it JupyterLab asks the person which kernel to take.
_METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
_RUN_CELL = """index => {
    jupyterapp.shell.currentWidget.content.activeCellIndex = index;
    const run = jupyterapp.commands.execute('notebook:run-cell');
    return WAIT ? run.then(() => 0) : 0;
}"""


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: where it is, and where its notebooks lie."""

    url: str
    root: Path


@dataclass(frozen=True)
class NotebookPage:
    """A notebook open in JupyterLab, with its kernel idle."""

    page: Page
    path: Path

    def run(self, index: int, wait: bool = True) -> None:
        """Run a cell; without `wait`, return while it runs."""
        self.page.evaluate(_RUN_CELL.replace("WAIT", "true" if wait else "false"), index)

    def output(self, index: int) -> Locator:
        """Return the output area of a cell."""
        cells = self.page.locator(".jp-Notebook .jp-Cell:not(.jp-Notebook-footer)")
        return cells.nth(index).locator(".jp-OutputArea").first

    def save(self) -> nbformat.NotebookNode:
        """Save it as a person would, and return what is in the file."""
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save').then(() => 0)")
        saved: nbformat.NotebookNode = nbformat.read(self.path, as_version=4)
        return saved

    def reload(self) -> None:
        """Load the page again; its kernel goes on."""
        self.page.reload()
        self.page.wait_for_function(_KERNEL_IS_IDLE, timeout=60_000)

    def use_theme(self, dark: bool) -> None:
        """Switch between JupyterLab's own two themes."""
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.page.evaluate(
            "name => jupyterapp.commands.execute('apputils:change-theme', {theme: name})", name
        )
        self.page.wait_for_function(
            "light => document.body.dataset.jpThemeLight === light", arg="false" if dark else "true"
        )

    def screenshot(self, name: str) -> Path:
        """Keep what is on the screen under ``build/screenshots``."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start JupyterLab with settings and data of its own."""
    base = tmp_path_factory.mktemp("lab")
    (base / "root").mkdir()
    _quiet_news(base / "settings")
    url = f"http://127.0.0.1:{_free_port()}"
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(
            _command(url, base), env=_environment(base), stdout=log, stderr=log, cwd=base
        )
        try:
            _wait_until_ready(url, process, base / "log")
            yield Lab(url, base / "root")
            _delete_kernels(url)
        finally:
            process.terminate()
            process.wait(15)


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """Start Chromium for one module only.

    While Playwright runs, so does its event loop, and asynchronous tests need that place.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("chromium")),
            executable_path=shutil.which("chromium"),
            args=CHROMIUM_ARGS,
            viewport={"width": 1100, "height": 900},
        )
        yield browser
        browser.close()


@pytest.fixture
def open_notebook(lab: Lab, chrome: BrowserContext) -> Iterator[Callable[..., NotebookPage]]:
    """Return a function that writes or copies a notebook and opens it."""
    pages: list[Page] = []

    def opened(
        *sources: str, name: str = "test.ipynb", copy_of: Path | None = None
    ) -> NotebookPage:
        path = lab.root / name
        if copy_of is not None:
            shutil.copy(copy_of, path)
        else:
            cells = [nbformat.v4.new_code_cell(source) for source in sources]
            nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=_METADATA), path)
        page = chrome.new_page()
        pages.append(page)
        page.goto(f"{lab.url}/doc/tree/{name}")
        page.wait_for_function(_KERNEL_IS_IDLE, timeout=60_000)
        return NotebookPage(page, path)

    yield opened
    for page in pages:
        page.close()
    _delete_kernels(lab.url)


def _quiet_news(settings: Path) -> None:
    folder = settings / "@jupyterlab" / "apputils-extension"
    folder.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (folder / "notification.jupyterlab-settings").write_text(json.dumps(quiet))


def _command(url: str, base: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"),
        "--ip=127.0.0.1",
        f"--port={url.rpartition(':')[2]}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--ServerApp.password=",
        "--ServerApp.disable_check_xsrf=True",
        f"--ServerApp.root_dir={base / 'root'}",
        "--LabApp.expose_app_in_browser=True",
    ]


def _environment(base: Path) -> dict[str, str]:
    paths = filter(None, (str(REPO), os.environ.get("PYTHONPATH")))
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "JUPYTER_CONFIG_DIR": str(base / "config"),
        "JUPYTER_DATA_DIR": str(base / "data"),
        "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(base / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(base / "workspaces"),
        "IPYTHONDIR": str(base / "ipython"),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/api/status", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}")


def _delete_kernels(url: str) -> None:
    with urllib.request.urlopen(f"{url}/api/kernels", timeout=10) as answer:
        kernels = json.load(answer)
    for kernel in kernels:
        request = urllib.request.Request(f"{url}/api/kernels/{kernel['id']}", method="DELETE")
        with urllib.request.urlopen(request, timeout=30):
            pass
