"""Drawing: the choice of a token, the ends of a sequence, and the log-probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tinker_nb.errors import UnknownNameError
from tinker_nb.server.engine.base import Base
from tinker_nb.server.engine.choice import choose, make_warp
from tinker_nb.server.engine.stops import stop_rule
from tinker_nb.server.engine.work import (
    AdapterSpec,
    CreateAdapter,
    LiveWeights,
    Sample,
    SaveAdapter,
    SavedWeights,
    WeightsSource,
)
from tinker_nb.server.engine.workshop import Workshop
from tinker_nb.wire.params import SamplingParams

PROMPT = np.array([10, 20, 30, 40, 50])


def ask(prompt: Any = PROMPT, n: int = 1, weights: WeightsSource = None, **params: Any) -> Sample:
    return Sample(weights, np.asarray(prompt), SamplingParams(**params), n)


def histogram(logits: list[float], **params: Any) -> Any:
    """Return how often each token is drawn over an even grid of random numbers."""
    grid = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    rows = torch.tensor(logits).repeat(1000, 1)
    warp = make_warp([SamplingParams(**params)] * 1000, len(logits))
    drawn = choose(rows, warp, grid)
    return torch.bincount(drawn, minlength=len(logits)).double() / 1000


LOGITS = [0.0, 2.0, 1.0, -1.0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature(temperature: float) -> None:
    expected = (torch.tensor(LOGITS).double() / temperature).softmax(-1)
    torch.testing.assert_close(
        histogram(LOGITS, temperature=temperature), expected, atol=2e-3, rtol=0
    )


@pytest.mark.parametrize("temperature", [0.0, 1e-40])
def test_greedy(temperature: float) -> None:
    assert histogram(LOGITS, temperature=temperature).tolist() == [0, 1, 0, 0]


def test_top_k() -> None:
    kept = torch.tensor([0, np.exp(2.0), np.exp(1.0), 0])
    torch.testing.assert_close(histogram(LOGITS, top_k=2), kept / kept.sum(), atol=2e-3, rtol=0)


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    # Probabilities: 0.087, 0.644, 0.237, 0.032.
    assert histogram(LOGITS, top_p=0.6).tolist() == [0, 1, 0, 0]
    assert (histogram(LOGITS, top_p=0.7) > 0).tolist() == [False, True, True, False]
    assert (histogram(LOGITS, top_p=0.9) > 0).tolist() == [True, True, True, False]


def test_rows_keep_their_own_settings() -> None:
    rows = torch.tensor(LOGITS).repeat(3, 1)
    params = [SamplingParams(temperature=0.0), SamplingParams(top_k=1), SamplingParams()]
    drawn = choose(rows, make_warp(params, 4), torch.tensor([0.99, 0.99, 0.999]).double())
    assert drawn.tolist() == [1, 1, 3]


@pytest.mark.parametrize(
    ("stop", "drawn", "ends"),
    [
        (None, [1, 9], True),
        (None, [1, 2], False),
        ([], [1, 9], False),
        ([5], [1, 5], True),
        ([5], [1, 9], True),
        ("ab", [97, 98], True),
        ("ab", [97, 98, 99], True),
        ("ab", [98, 97], False),
        (["xy", "c"], [97, 99], True),
    ],
)
def test_stop_rule(stop: Any, drawn: list[int], ends: bool) -> None:
    rule = stop_rule(SamplingParams(stop=stop), frozenset({9}))
    assert rule.ends(drawn, lambda tokens: "".join(map(chr, tokens))) is ends


def recomputed(base: Base, prompt: Any, tokens: list[int]) -> Any:
    """Return the log-probabilities of drawn tokens by one plain forward pass."""
    whole = torch.tensor([[*prompt, *tokens]])
    with torch.no_grad():
        scores = base.model(whole, use_cache=False).logits[0].log_softmax(-1)
    places = range(len(prompt) - 1, len(prompt) + len(tokens) - 1)
    return [float(scores[place, token]) for place, token in zip(places, tokens, strict=True)]


@pytest.mark.parametrize(
    "params",
    [
        {"seed": 1},
        {"temperature": 0.0},
        {"temperature": 0.7, "top_p": 0.8, "seed": 3},
        {"top_k": 5, "seed": 4},
    ],
)
def test_logprobs_are_the_models_own(workshop: Workshop, base: Base, params: Any) -> None:
    answer = workshop.do(ask(n=3, max_tokens=40, stop=[], **params))
    for sequence in answer.sequences:
        assert len(sequence.tokens) == 40
        np.testing.assert_allclose(
            sequence.logprobs, recomputed(base, PROMPT, sequence.tokens), atol=1e-4
        )


def test_prompts_of_different_lengths_together_are_as_alone(workshop: Workshop, base: Base) -> None:
    requests = [
        ask(range(3, 3 + size), n, max_tokens=limit, seed=size)
        for size, n, limit in ((2, 1, 30), (9, 2, 12), (33, 1, 50), (1, 1, 5))
    ]
    together = workshop.sample(requests)
    for request, answer in zip(requests, together, strict=True):
        alone = workshop.do(request)
        assert [s.tokens for s in answer.sequences] == [s.tokens for s in alone.sequences]
        for sequence in answer.sequences:
            expected = recomputed(base, request.prompt, sequence.tokens)
            np.testing.assert_allclose(sequence.logprobs, expected, atol=1e-4)


def test_many_rows_are_drawn_in_parts(workshop: Workshop, base: Base) -> None:
    requests = [ask(n=7, max_tokens=6, seed=1), ask(range(9), n=4, max_tokens=9, seed=2)]
    whole = workshop.sample(requests)
    workshop._sampler.batch_rows = 3
    parts = workshop.sample(requests)
    for one, two in zip(whole, parts, strict=True):
        assert [s.tokens for s in one.sequences] == [s.tokens for s in two.sequences]


def test_seed_repeats_and_samples_differ(workshop: Workshop) -> None:
    first, again = (workshop.do(ask(n=3, max_tokens=20, seed=5, stop=[])) for _ in range(2))
    drawn = [s.tokens for s in first.sequences]
    assert drawn == [s.tokens for s in again.sequences]
    assert len({tuple(tokens) for tokens in drawn}) == 3
    other = workshop.do(ask(max_tokens=20, seed=-6, stop=[]))
    assert other.sequences[0].tokens != drawn[0]
    fresh = [workshop.do(ask(max_tokens=20, stop=[])).sequences[0].tokens for _ in range(2)]
    assert fresh[0] != fresh[1]


def test_stop_token_is_kept_with_its_logprob(workshop: Workshop, base: Base) -> None:
    free = workshop.do(ask(max_tokens=10, temperature=0.0, stop=[])).sequences[0]
    end = free.tokens[4]
    first = free.tokens.index(end)
    stopped = workshop.do(ask(max_tokens=10, temperature=0.0, stop=[end])).sequences[0]
    assert stopped.tokens == free.tokens[: first + 1]
    assert len(stopped.logprobs) == first + 1
    assert stopped.stop_reason == "stop"
    assert free.stop_reason == "length"


def test_the_context_is_the_limit(workshop: Workshop, base: Base) -> None:
    whole = np.arange(base.facts.context)
    assert len(workshop.do(ask(whole, stop=[])).sequences[0].tokens) == 1
    answer = workshop.do(ask(whole[:-3], stop=[], max_tokens=1000)).sequences[0]
    assert len(answer.tokens) == 4
    assert answer.stop_reason == "length"


def test_prompt_logprobs(workshop: Workshop, base: Base) -> None:
    params = SamplingParams(max_tokens=1)
    other = ask([1, 2, 3, 4, 5, 6, 7, 8], max_tokens=2)
    request = Sample(None, PROMPT, params, 1, prompt_logprobs=True, topk_prompt_logprobs=3)
    for answer in (workshop.do(request), workshop.sample([other, request])[1]):
        assert answer.prompt_logprobs[0] is None
        expected = recomputed(base, PROMPT[:1], PROMPT[1:].tolist())
        np.testing.assert_allclose(answer.prompt_logprobs[1:], expected, atol=1e-4)
        assert answer.topk_prompt_logprobs[0] is None
        assert [len(row) for row in answer.topk_prompt_logprobs[1:]] == [3] * 4
        best = max(answer.topk_prompt_logprobs[1], key=lambda pair: pair[1])
        assert best[1] >= expected[0]


def test_saved_weights_stay_while_training_goes_on(workshop: Workshop, tmp_path: Path) -> None:
    spec = AdapterSpec(4, 32.0, frozenset({"attn", "mlp"}), 1)
    workshop.do(CreateAdapter("m", spec))
    adapter = workshop._live["m"]
    adapter.weights.normal_(0, 0.1, generator=torch.manual_seed(0))
    workshop.do(SaveAdapter("m", tmp_path / "ck"))

    def drawn(weights: WeightsSource) -> list[int]:
        request = ask(weights=weights, max_tokens=20, temperature=0.0, stop=[])
        return list(workshop.do(request).sequences[0].tokens)

    live, saved = drawn(LiveWeights("m")), drawn(SavedWeights(tmp_path / "ck"))
    assert live == saved != drawn(None)
    adapter.weights.normal_(0, 0.1, generator=torch.manual_seed(9))
    assert drawn(LiveWeights("m")) != live
    assert drawn(SavedWeights(tmp_path / "ck")) == saved


def test_a_checkpoint_that_cannot_be_read_is_named(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="cannot be read"):
        workshop.do(ask(weights=SavedWeights(tmp_path / "gone")))
