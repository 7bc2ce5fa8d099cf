"""What the start of a program costs, each time in a fresh process."""

from __future__ import annotations

from benchmarks.client_parts.measure import Figures
from benchmarks.client_parts.runs import PACKAGES, Results, Tell, in_turns, output
from benchmarks.client_parts.stub import running_stub

_CLOCK = """
import time
began = time.perf_counter()
import {package} as sdk
{then}
print(time.perf_counter() - began)
"""
# tinker_nb loads its parts on first use, so importing it alone says little.
_TOUCH = "sdk.ServiceClient, sdk.TrainingClient, sdk.SamplingClient, sdk.types.Datum"
_FIRST = """
service = sdk.ServiceClient(base_url={url!r}, api_key="tml-test")
sampler = service.create_sampling_client(base_model="m").result()
prompt = sdk.types.ModelInput.from_ints([1, 2, 3])
sampler.sample(prompt, 1, sdk.types.SamplingParams(max_tokens=8)).result()
"""


def _seconds(package: str, then: str = "") -> float:
    return float(output(["-c", _CLOCK.format(package=package, then=then)]))


def of_start(runs: int, tell: Tell) -> Results:
    """Return the seconds to import, to touch the usual names, and to a first result."""
    with running_stub("--sample-delay", "0") as url:
        first = _FIRST.format(url=url)

        def measure(package: str) -> Figures:
            return {
                "bare": _seconds(package),
                "touched": _seconds(package, _TOUCH),
                "first": _seconds(package, first),
            }

        for package in PACKAGES:
            measure(package)  # once, so that all is compiled and in the page cache
        return in_turns(PACKAGES, runs, measure, lambda said: tell(f"start: {said}"))
