"""Tokens a second in drawing: one prompt after the other, and sixteen requests at once."""

from __future__ import annotations

import time

from benchmarks.client_parts.lines import table
from benchmarks.client_parts.measure import Figures
from benchmarks.client_parts.runs import Tell
from benchmarks.server_parts.beside import BARE, SERVED, Peer, running_peer, side_by_side
from benchmarks.server_parts.verdicts import heads, of_sampling
from benchmarks.serving import client_of, running_server
from benchmarks.workload import DRAWS, NEW_TOKENS, prompts
from tinker_nb import ModelInput, SamplingClient, SamplingParams

#: Nothing ends a sequence early.
PARAMS = SamplingParams(max_tokens=NEW_TOKENS, temperature=1.0, stop=[])


def sampling(runs: int, tell: Tell) -> str:
    """Return the table of drawing."""
    with running_server() as server, client_of(server) as service, running_peer() as peer:
        sampler = service.create_sampling_client(base_model="tiny-chat")
        sides = {BARE: lambda: _bare(peer), SERVED: lambda: _served(sampler)}
        results = side_by_side("sampling", runs, tell, sides)
    return table(heads("`generate`"), of_sampling(results))


def _bare(peer: Peer) -> Figures:
    return {name: peer.do(name)["rate"] for name in ("one", "many")}


def _served(sampler: SamplingClient) -> Figures:
    return {"one": one_speed(sampler), "many": many_speed(sampler)}


def one_speed(sampler: SamplingClient) -> float:
    """Return the tokens a second of one prompt after the other."""
    asked = [ModelInput.from_ints(row) for row in prompts()[:DRAWS]]
    _draw(sampler, asked[:1])
    began = time.perf_counter()
    for prompt in asked:
        _draw(sampler, [prompt])
    return len(asked) * NEW_TOKENS / (time.perf_counter() - began)


def many_speed(sampler: SamplingClient, draws: int = DRAWS) -> float:
    """Return the tokens a second of all prompts at once, a request each."""
    asked = [ModelInput.from_ints(row) for row in prompts()]
    _draw(sampler, asked)
    began = time.perf_counter()
    for _ in range(draws):
        _draw(sampler, asked)
    return draws * len(asked) * NEW_TOKENS / (time.perf_counter() - began)


def _draw(sampler: SamplingClient, asked: list[ModelInput]) -> None:
    futures = [sampler.sample(prompt, 1, PARAMS) for prompt in asked]
    for future in futures:
        assert len(future.result().sequences[0].tokens) == NEW_TOKENS
