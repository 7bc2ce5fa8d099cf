"""``python -m benchmarks.client``: tinker_nb's client beside the official SDK, on one stub server.

The stub (`benchmarks.stub_server`) runs in a process of its own and answers as fast as it can; each
run of each package is a fresh process, and the packages take turns.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmarks.client_parts.topics import TOPICS
from benchmarks.command import parser, publish, report, tell

RESULTS = Path(__file__).with_name("CLIENT_RESULTS.md")

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


def main() -> None:
    """Measure, print, and write when asked to."""
    options = parser("client", __doc__, TOPICS, RESULTS).parse_args()
    topics = {
        name: partial(TOPICS[name], options.runs, tell) for name in options.only or list(TOPICS)
    }
    head = f"- tinker {version('tinker')}; {options.runs} runs of each, median [lowest..highest]"
    text = report("The client beside the official SDK", head, topics, NOTES)
    publish(text, RESULTS if options.write else None)


if __name__ == "__main__":
    main()
