"""What ``%load_ext tinker_nb`` adds to the start of IPython."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from benchmarks.report import Row, median, spread

RUNS = 7
GOAL_S = 0.4


def start_time(code: str, ipython_dir: str) -> float:
    """Return the seconds IPython takes to start, run some code and end."""
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c", code]
    began = time.perf_counter()
    environment = {**os.environ, "IPYTHONDIR": ipython_dir}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - began


def rows() -> list[Row]:
    """Start IPython bare and with the extension, in turns."""
    bare, loaded = [], []
    with tempfile.TemporaryDirectory() as directory:
        start_time("%load_ext tinker_nb", directory)  # once, so that all is compiled and cached
        for _ in range(RUNS):
            bare.append(start_time("pass", directory))
            loaded.append(start_time("%load_ext tinker_nb", directory))
    added = [after - before for before, after in zip(bare, loaded, strict=True)]
    details = f"{spread(added, 's', 2)}; bare {median(bare):.2f} s, with it {median(loaded):.2f} s"
    result = f"{median(added):.2f} s over bare IPython"
    met = median(added) < GOAL_S
    return [Row("`%load_ext tinker_nb`, fresh process", result, details, "< 0.4 s", met)]
