"""``python -m benchmarks``: measure everything and print one table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import batches, cells, loading, training
from benchmarks.report import Row, load_now, surroundings, table

TOPICS: dict[str, Callable[[], list[Row]]] = {
    "cells": cells.rows,
    "loading": loading.rows,
    "batches": batches.rows,
    "training": training.rows,
}


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=TOPICS, help="measure this; repeatable")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    return parser.parse_args()


def measure(names: list[str]) -> list[Row]:
    """Return the rows of some topics, telling on stderr how far it is."""
    rows = []
    for name in names:
        print(f"measuring: {name} ...", file=sys.stderr, flush=True)
        rows.extend(TOPICS[name]())
    return rows


def main() -> None:
    """Measure, print, and write when asked to."""
    options = parse()
    load_before = load_now()
    rows = measure(options.only or list(TOPICS))
    text = f"# Benchmarks\n\n{surroundings(load_before)}\n\n{table(rows)}\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
