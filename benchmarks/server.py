"""``python -m benchmarks.server``: the embedded server beside its peers.

The server runs in a process of its own, started as a user starts it; so does each peer. Both take
turns within one run, so that what else the machine does hits both.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.client_parts.runs import Tell
from benchmarks.command import parser, publish, report, tell
from benchmarks.server_parts.overhead import overhead
from benchmarks.server_parts.sampling import sampling
from benchmarks.server_parts.skyrl import skyrl
from benchmarks.server_parts.start import start
from benchmarks.server_parts.together import together
from benchmarks.server_parts.training import coalescing, training

RESULTS = Path(__file__).with_name("SERVER_RESULTS.md")

NOTES = {
    "training": "Rank 32 on all linear layers, AdamW. Our client sends a step's two requests "
    "before it waits for those of the step before. Every step that the server acknowledges is on "
    "the disk; the bare loop keeps nothing.",
    "coalescing": "The bare loop does eight forwards and backwards of 1 x 64, then a step. The "
    "server gets eight requests and a step, those of the next step before the results of the last.",
    "together": "Five forward_backward of one conversation of 64 tokens each: each awaited before "
    "the next is submitted, or all submitted and then gathered. Each client in a fresh process; "
    "the delay is a proxy's, and opening a connection has none.",
    "sampling": "The base model, prompts of 64 tokens, temperature 1, nothing ends a sequence "
    "early. `generate` runs in a process without a server. Of the server each prompt is a request "
    "of its own, sent by our client.",
    "overhead": "Raw HTTP over one connection; the poll waits before the result is there. What the "
    "server adds is the time from submitting to the result less that of the engine's own trainer "
    "on the same data, alone in another process. Recorded is the moment that the server writes "
    "into its table of futures, just before the commit.",
    "start": "The server's first answer is that of `/api/v1/healthz`, with the model loaded; "
    "beside it a bare process imports, loads the model and draws one token. Not in memory: all "
    "installed files were dropped from the page cache beforehand, as far as no other process uses "
    "them; compiled bytecode stays.",
    "skyrl": "SkyRL's server with its JAX backend on the CPU, in its own environment, on the same "
    "model and machine; both driven by our client. Its settings are kind to it: batches of 16 in "
    "drawing, without which it compiles for each number of prompts anew, and room for 4 adapters "
    "in place of 32, which makes it several times faster. Each load ran before the clock started, "
    "so that it was compiled. Its engine looks for work ten times a second, also while ours is "
    "measured.",
}


def main() -> None:
    """Measure, print, and write when asked to."""
    given = parser("server", __doc__, NOTES, RESULTS)
    there = os.environ.get("SKYRL_PYTHON")
    given.add_argument("--skyrl-python", metavar="PATH", default=there, help="Python with SkyRL")
    options = given.parse_args()
    every: dict[str, Callable[[int, Tell], str]] = {
        **{each.__name__: each for each in (training, coalescing, together, sampling)},
        **{each.__name__: each for each in (overhead, start)},
        "skyrl": partial(skyrl, python=options.skyrl_python),
    }
    topics = {name: partial(every[name], options.runs, tell) for name in options.only or every}
    head = f"- {options.runs} runs of each side in turns, median [lowest..highest]"
    text = report("The server beside its peers", head, topics, NOTES)
    publish(text, RESULTS if options.write else None)


if __name__ == "__main__":
    main()
