"""What the commands that compare have in common: options, progress, and the written report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from benchmarks.report import load_now, surroundings

LEAST_RUNS = 5


def parser(
    name: str, doc: str | None, topics: Collection[str], file: Path
) -> argparse.ArgumentParser:
    """Return the parser of a command's options; a command may add its own."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=doc)
    made.add_argument("--only", action="append", choices=topics, help="measure this; repeatable")
    made.add_argument("--runs", type=int, default=LEAST_RUNS, help="runs of each side")
    made.add_argument("--write", action="store_true", help=f"also write {file.name}")
    return made


def tell(text: str) -> None:
    """Say on stderr how far it is."""
    print(f"measuring: {text} ...", file=sys.stderr, flush=True)


def report(
    title: str, head: str, topics: Mapping[str, Callable[[], str]], notes: Mapping[str, str]
) -> str:
    """Measure the topics and return the whole report.

    Parameters
    ----------
    title, head
        What it is about, and a line on how it was measured.
    topics
        By name, what measures and returns a table.
    notes
        By name, what must be known to read the table.
    """
    load_before = load_now()
    parts = [f"## {name.capitalize()}\n\n{run()}\n\n{notes[name]}" for name, run in topics.items()]
    said = f"# {title}\n\n{surroundings(load_before)}\n{head}"
    return "\n\n".join((said, *parts)) + "\n"


def publish(text: str, file: Path | None) -> None:
    """Print a report, and write it where a file is given."""
    print(text)
    if file is not None:
        file.write_text(text, encoding="utf-8")
