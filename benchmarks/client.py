"""``python -m benchmarks.client``: tinker_nb's client beside the official SDK, on one stub server.

The stub (`benchmarks.stub_server`) runs in a process of its own and answers as fast as it can; each
run of each package is a fresh process, and the packages take turns.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.client_parts.topics import TOPICS
from benchmarks.report import load_now, surroundings

RESULTS = Path(__file__).with_name("CLIENT_RESULTS.md")
_LEAST_RUNS = 5

NOTES = {
    "samples": "A prompt of 64 tokens each; the stub answers 0.5 s after it has accepted a sample. "
    "One sample was drawn before the clock starts.",
    "training": "The stub answers at once. Every call has datums of its own, made before the clock "
    "starts; each result's arrays are read.",
    "wakeups": "The stub writes the moment of completion into the sampled tokens; both sides read "
    "the machine's monotonic clock. The awaiter is a coroutine. One by one: the stub takes 0.5 to "
    "1.5 s for a sample, so about 100 end in a second. All at once: the stub ends them in one "
    "moment, and the last of them waits until the client has read all others.",
    "memory": "After 2,000 futures to warm up; 200 in flight.",
    "start": "tinker_nb loads its parts when they are first used, so its bare import says little; "
    "the other two lines say what a program pays.",
    "transports": "The least that a client built on each would cost: the same requests, no client "
    "of the protocol above.",
}


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client", description=__doc__)
    parser.add_argument("--only", action="append", choices=TOPICS, help="measure this; repeatable")
    parser.add_argument("--runs", type=int, default=_LEAST_RUNS, help="runs of each package")
    parser.add_argument("--write", action="store_true", help=f"also write {RESULTS.name}")
    return parser.parse_args()


def tell(text: str) -> None:
    """Say on stderr how far it is."""
    print(f"measuring: {text} ...", file=sys.stderr, flush=True)


def report(names: list[str], runs: int) -> str:
    """Measure some topics and return the whole report."""
    load_before = load_now()
    parts = [
        f"## {name.capitalize()}\n\n{TOPICS[name](runs, tell)}\n\n{NOTES[name]}" for name in names
    ]
    head = f"- tinker {version('tinker')}; {runs} runs of each, median [lowest..highest]"
    said = f"# The client beside the official SDK\n\n{surroundings(load_before)}\n{head}"
    return "\n\n".join((said, *parts)) + "\n"


def main() -> None:
    """Measure, print, and write when asked to."""
    options = parse()
    text = report(options.only or list(TOPICS), options.runs)
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
