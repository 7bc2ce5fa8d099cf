"""Drawing many sequences at once: each is what it would be alone, whoever comes and goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tinker_nb.data.chat import ChatTokenizer
from tinker_nb.server.engine.adapters import Adapter, Shape
from tinker_nb.server.engine.base import Base, load_base
from tinker_nb.server.engine.drawing import Drawing, DrawingError
from tinker_nb.server.engine.lora import Lora
from tinker_nb.server.engine.work import Sample
from tinker_nb.wire.params import SamplingParams
from tinker_nb.wire.results import SampleResponse

PROMPT = np.array([10, 20, 30, 40, 50])
LONG = np.arange(3, 45)


def ask(
    prompt: Any = PROMPT, n: int = 1, extras: dict[str, Any] | None = None, **params: Any
) -> Sample:
    settings = SamplingParams(**{"max_tokens": 12, "stop": [], **params})
    return Sample(None, np.asarray(prompt), settings, n, **(extras or {}))


class Studio:
    """A drawing on a model, its LoRA layers, and a model like it that is left alone."""

    def __init__(self, base: Base) -> None:
        self.base, self.plain = base, load_base(str(base.facts.directory)).model
        self.lora = Lora(base)
        self.decode: Callable[[Sequence[int]], str] = ChatTokenizer.from_directory(
            base.facts.directory
        ).decode

    def drawing(self, batch_rows: int = 64, context: int | None = None) -> Drawing:
        context = context or self.base.facts.context
        ends = self.base.end_tokens
        return Drawing(self.base.model, self.lora, context, ends, self.decode, batch_rows)

    def adapter(self, seed: int, rank: int = 4) -> Adapter:
        shape = Shape(rank, 32.0, frozenset({"attn", "mlp"}))
        size = self.lora.layout(shape).size
        return Adapter(shape, torch.empty(size).normal_(0, 0.1, generator=seeded(seed)))

    def alone(self, request: Sample, adapter: Adapter | None = None) -> SampleResponse:
        drawing = self.drawing()
        drawing.join(request, adapter)
        (answer,) = finish(drawing)
        return answer[1]

    @torch.inference_mode()
    def scores(self, tokens: Any) -> Tensor:
        """Return the log-probabilities of the plain model after each token."""
        logits = self.plain(torch.tensor([list(map(int, tokens))]), use_cache=False).logits[0]
        scores: Tensor = logits.float().log_softmax(-1)
        return scores


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-4)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def finish(drawing: Drawing) -> list[tuple[Sample, SampleResponse]]:
    """Draw until nobody is left."""
    answers = []
    while drawing.rows:
        answers.extend(drawing.step())
    return answers


def tokens_of(answer: SampleResponse) -> list[list[int]]:
    return [sequence.tokens for sequence in answer.sequences]


def assert_same(one: SampleResponse, two: SampleResponse) -> None:
    assert tokens_of(one) == tokens_of(two)
    for left, right in zip(one.sequences, two.sequences, strict=True):
        assert left.stop_reason == right.stop_reason
        close(left.logprobs_np, right.logprobs_np)


@pytest.fixture
def studio(base: Base) -> Studio:
    return Studio(base)


@pytest.fixture
def qwen(llama_dir: Path, tmp_path: Path) -> Studio:
    from tests.server.test_life import qwen_dir

    return Studio(load_base(str(qwen_dir(tmp_path / "tiny-qwen", llama_dir))))


@pytest.mark.parametrize("model", ["studio", "qwen"])
def test_greedy_is_what_transformers_generates(model: str, request: pytest.FixtureRequest) -> None:
    studio: Studio = request.getfixturevalue(model)
    whole = studio.plain.generate(
        torch.tensor([PROMPT.tolist()]),
        attention_mask=torch.ones(1, len(PROMPT), dtype=torch.long),
        max_new_tokens=40,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=260,
    )[0]
    asked = ask(max_tokens=40, temperature=0.0)
    answer = studio.alone(asked)
    assert tokens_of(answer) == [whole[len(PROMPT) :].tolist()]
    scores = studio.scores(whole)
    expected = [float(scores[at - 1, whole[at]]) for at in range(len(PROMPT), len(whole))]
    close(answer.sequences[0].logprobs_np, expected)


@pytest.mark.parametrize("model", ["studio", "qwen"])
def test_each_is_as_alone_whoever_comes_and_goes(
    model: str, request: pytest.FixtureRequest
) -> None:
    studio: Studio = request.getfixturevalue(model)
    one, two, other = studio.adapter(1), studio.adapter(2), studio.adapter(3, rank=2)
    joining: dict[int, list[tuple[Sample, Adapter | None]]] = {
        0: [(ask(n=2, seed=1, max_tokens=20), one), (ask(LONG, seed=2, max_tokens=6), None)],
        2: [(ask([7], seed=3, max_tokens=20), two), (ask(n=3, seed=4, top_p=0.8), one)],
        5: [(ask(LONG[:30], seed=5, temperature=0.7), other), (ask(temperature=0.0), two)],
        6: [(ask(LONG[:9], seed=6, max_tokens=1), one)],
        12: [(ask(LONG, seed=7, top_k=5, max_tokens=15), other)],
    }
    drawing, answers, step = studio.drawing(), [], 0
    while drawing.rows or step <= max(joining):
        for asked, adapter in joining.get(step, []):
            drawing.join(asked, adapter)
        answers.extend(drawing.step())
        step += 1
    together = {id(asked): answer for asked, answer in answers}
    assert len(answers) == len(together) == 8
    for asked, adapter in (entry for entries in joining.values() for entry in entries):
        assert_same(together[id(asked)], studio.alone(asked, adapter))


def test_adapters_count_and_training_between_steps_does_not(studio: Studio) -> None:
    one, two = studio.adapter(1), studio.adapter(2)
    asked = [ask(temperature=0.0) for _ in range(3)]
    drawing = studio.drawing()
    for request, adapter in zip(asked, (None, one, two), strict=True):
        drawing.join(request, adapter)
    answers = []
    while drawing.rows:
        answers.extend(drawing.step())
        studio.lora.use(two)
    drawn = [tokens_of(answer)[0] for _, answer in answers]
    assert len({tuple(each) for each in drawn}) == 3
    alone = [studio.alone(ask(temperature=0.0), each) for each in (None, one, two)]
    assert drawn == [tokens_of(each)[0] for each in alone]


def test_more_samples_than_places(studio: Studio) -> None:
    drawing = studio.drawing(batch_rows=3)
    many, few = ask(n=11, seed=1), ask(LONG[:20], n=2, seed=2)
    drawing.join(many, None)
    drawing.step()
    drawing.join(few, None)
    assert drawing.rows == 13
    order = []
    while drawing.rows:
        order.extend(drawing.step())
        assert len(drawing._batch.rows) <= 3
    assert [request for request, _ in order] == [few, many]
    for request, answer in order:
        assert_same(answer, studio.alone(request))
    assert len({tuple(tokens) for tokens in tokens_of(order[1][1])}) == 11


def test_a_prompt_is_read_again_when_too_many_are_kept(studio: Studio) -> None:
    drawing = studio.drawing(batch_rows=1)
    requests = [ask(LONG[: 5 + place], n=2, seed=place, max_tokens=3) for place in range(3)]
    for request in requests:
        drawing.join(request, None)
    answers = finish(drawing)
    assert [request for request, _ in answers] == requests
    for request, answer in answers:
        assert_same(answer, studio.alone(request))


def test_prompts_beyond_a_step_are_read_at_the_next(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinker_nb.server.engine.drawing._STEP_TOKENS", 50)
    drawing = studio.drawing()
    requests = [ask(LONG, seed=place, max_tokens=3) for place in range(3)]
    requests += [ask(LONG[:-1], seed=9, max_tokens=3)]
    for request in requests:
        drawing.join(request, None)
    drawing.step()
    assert len(drawing._batch.rows) == 1
    assert {id(request) for request, _ in finish(drawing)} == set(map(id, requests))


def test_a_request_that_leaves(studio: Studio) -> None:
    drawing = studio.drawing(batch_rows=4)
    stays, goes, waits = ask(seed=1), ask(LONG, n=9, seed=2), ask(n=2, seed=3)
    for request in (goes, stays, waits):
        drawing.join(request, None)
    drawing.step()
    assert drawing.rows == 12
    drawing.leave(goes)
    assert drawing.rows == 3
    drawing.leave(waits)
    assert drawing.rows == 1
    ((request, answer),) = finish(drawing)
    assert request is stays
    assert_same(answer, studio.alone(stays))
    drawing.leave(stays)
    assert drawing.step() == []


def test_stop_tokens_and_texts(studio: Studio) -> None:
    free = studio.alone(ask(max_tokens=30, temperature=0.0)).sequences[0]
    end = free.tokens[7]
    first = free.tokens.index(end)
    stopped = studio.alone(ask(max_tokens=30, temperature=0.0, stop=[end])).sequences[0]
    assert (stopped.tokens, stopped.stop_reason) == (free.tokens[: first + 1], "stop")
    assert len(stopped.logprobs or []) == first + 1
    whole = studio.decode(free.tokens)
    texts = [studio.decode(free.tokens[: count + 1]) for count in range(30)]
    text = whole[10:12]
    count = next(place for place, each in enumerate(texts) if text in each) + 1
    by_text = studio.alone(ask(max_tokens=30, temperature=0.0, stop=[text])).sequences[0]
    assert (by_text.tokens, by_text.stop_reason) == (free.tokens[:count], "stop")


def test_the_context_is_the_limit(studio: Studio) -> None:
    whole = np.arange(studio.base.facts.context)
    assert len(tokens_of(studio.alone(ask(whole, max_tokens=None)))[0]) == 1
    answer = studio.alone(ask(whole[:-70], max_tokens=None)).sequences[0]
    assert (len(answer.tokens), answer.stop_reason) == (71, "length")


def figures(n: int, **more: Any) -> dict[str, Any]:
    targets = np.full((len(LONG) - 1, 3), -1)
    targets[5, 1], targets[-1] = 9, (0, 200, -1)
    return {
        "prompt_logprobs": True,
        "topk_prompt_logprobs": 3,
        "target_prompt_logprobs": targets,
        "prompt_alt_tokens_k": n,
        **more,
    }


@pytest.mark.parametrize("limit", [None, 261 * 7])
def test_figures_of_the_prompt(
    studio: Studio, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit is not None:
        monkeypatch.setattr("tinker_nb.server.engine.reading._LOGITS_LIMIT", limit)
    extras = figures(4)
    drawing = studio.drawing()
    drawing.join(ask(LONG[:30], seed=2), None)
    asked = ask(LONG, extras=extras, seed=1)
    drawing.join(asked, None)
    answer = dict(finish(drawing))[asked]
    scores = studio.scores(LONG)[:-1]
    assert answer.prompt_logprobs is not None
    assert answer.prompt_logprobs[0] is None
    own = scores.gather(-1, torch.from_numpy(LONG[1:, None]))[:, 0]
    close(answer.prompt_logprobs[1:], own)
    assert_topk(answer.topk_prompt_logprobs, scores)
    named = answer.target_prompt_logprobs
    assert named is not None
    expected = np.zeros((len(LONG) - 1, 3))
    expected[5, 1], expected[-1] = scores[5, 9], (scores[-1, 0], scores[-1, 200], 0)
    close(named.values, expected)
    assert_same(answer, studio.alone(ask(LONG, seed=1)))


def assert_topk(found: Any, scores: Tensor) -> None:
    assert found[0] is None
    values, tokens = scores.topk(3, dim=-1)
    assert [[token for token, _ in row] for row in found[1:]] == tokens.tolist()
    close([[lp for _, lp in row] for row in found[1:]], values)


def test_the_last_n_only(studio: Studio) -> None:
    answer = studio.alone(ask(LONG, extras=figures(2, prompt_logprobs_last_n=4)))
    whole = studio.alone(ask(LONG, extras=figures(2)))
    for part, full in (
        (answer.prompt_logprobs, whole.prompt_logprobs),
        (answer.topk_prompt_logprobs, whole.topk_prompt_logprobs),
    ):
        assert part is not None
        assert full is not None
        assert part[:-4] == [None] * (len(LONG) - 4)
        assert None not in part[-4:]
        assert len(part) == len(full)
    close((answer.prompt_logprobs or [])[-4:], (whole.prompt_logprobs or [])[-4:])
    assert answer.target_prompt_logprobs is not None
    assert answer.target_prompt_logprobs.values[5, 1] != 0


def test_figures_of_prompts_that_are_read_together(studio: Studio) -> None:
    extras = {"prompt_logprobs": True, "prompt_logprobs_last_n": 6}
    requests = [ask(LONG[start:], extras=extras, seed=start) for start in (0, 3, 8)]
    drawing = studio.drawing()
    for request in requests:
        drawing.join(request, None)
    for request, answer in finish(drawing):
        alone = studio.alone(request)
        assert_same(answer, alone)
        close(answer.prompt_logprobs_np, alone.prompt_logprobs_np)


def test_a_prompt_of_one_token_has_no_figures(studio: Studio) -> None:
    extras = figures(2, target_prompt_logprobs=np.zeros((0, 3), dtype=np.int64))
    answer = studio.alone(ask([5], extras=extras))
    assert answer.prompt_logprobs == [None]
    assert answer.topk_prompt_logprobs == [None]
    assert answer.target_prompt_logprobs is not None
    assert answer.target_prompt_logprobs.shape == [0, 3]
    assert answer.prompt_alt_tokens is not None
    assert answer.prompt_alt_tokens.tokens.shape == [0, 2]


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.0])
def test_alternatives_follow_the_distribution(studio: Studio, temperature: float) -> None:
    count = 2000
    extras = {"prompt_alt_tokens_k": count}
    asked = ask(PROMPT, extras=extras, seed=3, temperature=temperature)
    alternatives = studio.alone(asked).prompt_alt_tokens
    assert alternatives is not None
    assert alternatives.tokens.shape == alternatives.logprobs.shape == [len(PROMPT) - 1, count]
    scores = studio.scores(PROMPT)[:-1]
    drawn = torch.from_numpy(alternatives.tokens.values)
    close(alternatives.logprobs.values, scores.gather(-1, drawn))
    expected = (scores / max(temperature, 1e-3)).softmax(-1)
    for place, row in enumerate(drawn):
        often = torch.bincount(row, minlength=scores.shape[-1]) / count
        assert float((often - expected[place]).abs().max()) < 0.05
    again = studio.alone(asked).prompt_alt_tokens
    assert again is not None
    assert again.tokens.data == alternatives.tokens.data


def test_likeliest_of_the_drawn(studio: Studio) -> None:
    drawing = studio.drawing()
    plain, asked = ask(seed=1), ask(n=2, extras={"topk_sample_logprobs": 3}, seed=2)
    for request in (plain, asked):
        drawing.join(request, None)
    answers = dict(finish(drawing))
    assert answers[plain].sequences[0].topk_logprobs is None
    for sequence in answers[asked].sequences:
        scores = studio.scores([*PROMPT, *sequence.tokens])[len(PROMPT) - 1 : -1]
        assert_topk([None, *(sequence.topk_logprobs or [])], scores)


def test_one_prompt_is_read_once(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing, shapes = studio.drawing(), []
    forward = studio.base.model.forward
    monkeypatch.setattr(
        studio.base.model,
        "forward",
        lambda **given: shapes.append(given["input_ids"].shape) or forward(**given),  # type: ignore[func-returns-value]
    )
    scored = ask(seed=2, extras={"prompt_logprobs": True})
    requests = [ask(seed=1), scored, ask(seed=3, n=2)]
    for request in requests:
        drawing.join(request, None)
    drawing.join(ask(seed=4), studio.adapter(1))
    drawing.step()
    assert [tuple(shape) for shape in shapes] in ([(1, 5), (1, 5)], [(2, 5)])
    answers = dict(finish(drawing))
    hits = [answers[request].prompt_cache_hit_tokens for request in requests]
    assert sorted(hits) == [0, 5, 5]
    assert answers[scored].prompt_logprobs is not None


def failing(studio: Studio, monkeypatch: pytest.MonkeyPatch, when: Callable[[Any], bool]) -> None:
    """Let passes through the model fail that read such tokens."""
    forward = studio.base.model.forward

    def fails(**given: Any) -> Any:
        if when(given["input_ids"]):
            raise RuntimeError("out of memory")
        return forward(**given)

    monkeypatch.setattr(studio.base.model, "forward", fails)


def test_a_prompt_that_fails_harms_nobody_else(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = studio.drawing()
    runs, fails, waits = ask(seed=1), ask(LONG, n=2), ask([1, 2, 3], seed=2)
    drawing.join(runs, None)
    drawing.step()
    failing(studio, monkeypatch, lambda tokens: tokens.shape[1] == len(LONG))
    drawing.join(fails, None)
    drawing.join(waits, None)
    with pytest.raises(DrawingError, match="out of memory") as caught:
        drawing.step()
    assert caught.value.requests == [fails]
    assert isinstance(caught.value.cause, RuntimeError)
    answers = dict(finish(drawing))
    assert set(answers) == {runs, waits}
    monkeypatch.undo()
    for request, answer in answers.items():
        assert_same(answer, studio.alone(request))


def test_a_batch_that_fails_leaves_those_who_wait(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = studio.drawing(batch_rows=2)
    lost, waits = [ask(seed=1), ask(seed=2, n=3)], ask(LONG, seed=3)
    for request in [*lost, waits]:
        drawing.join(request, None)
    drawing.step()
    failing(studio, monkeypatch, lambda tokens: tokens.shape[1] == 1)
    with pytest.raises(DrawingError) as caught:
        drawing.step()
    assert caught.value.requests == lost
    assert drawing.rows == 1
    monkeypatch.undo()
    ((request, answer),) = finish(drawing)
    assert request is waits
    assert_same(answer, studio.alone(waits))


def test_what_is_no_number_stays_in_its_row(studio: Studio) -> None:
    broken = studio.adapter(1)
    broken = Adapter(broken.shape, broken.weights * torch.nan)
    drawing = studio.drawing()
    drawing.join(ask(LONG, max_tokens=30, seed=2), None)
    drawing.join(ask(LONG, max_tokens=3), broken)
    for _ in range(4):
        drawing.step()
    sound = ask(seed=3)
    drawing.join(sound, None)  # into the broken one's place
    assert_same(dict(finish(drawing))[sound], studio.alone(sound))


def test_masks_that_the_model_makes(base: Base) -> None:
    base.model.config.sliding_window = 1000  # wider than the context: nothing is hidden
    plain = Studio(load_base(str(base.facts.directory)))
    studio = Studio(base)
    drawing = studio.drawing()
    requests = [ask(LONG, seed=1), ask(seed=2)]
    for request in requests:
        drawing.join(request, None)
    assert not drawing._batch._whole_masks
    for request, answer in finish(drawing):
        assert_same(answer, plain.alone(request))


def test_without_a_seed_no_two_are_alike(studio: Studio) -> None:
    answers = [studio.alone(ask(n=2, max_tokens=20)) for _ in range(2)]
    assert len({tuple(tokens) for answer in answers for tokens in tokens_of(answer)}) == 4
