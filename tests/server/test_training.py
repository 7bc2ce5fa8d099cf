"""The training step on a real, small model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.server.conftest import Bench
from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.server.engine.base import Base
from tinker_nb.server.engine.work import (
    AdapterSpec,
    CreateAdapter,
    Example,
    ForwardBackward,
    LayerGroup,
    OptimStep,
    RemoveAdapter,
)
from tinker_nb.wire.losses import LOSSES, loss_settings
from tinker_nb.wire.params import AdamParams
from tinker_nb.wire.results import ForwardBackwardOutput

ALL: frozenset[LayerGroup] = frozenset({"attn", "mlp", "unembed"})
SPEC = AdapterSpec(4, 32.0, ALL, 1)


def example(length: int, seed: int, *, width: int = 0, **columns: Any) -> Example:
    rng = np.random.default_rng(seed)
    shape = (length, width) if width else (length,)
    weights = rng.choice([0.0, 0.5, 1.0], shape).astype(np.float32)
    filled = {k: np.full(shape, v, dtype=np.float32) for k, v in columns.items()}
    tokens, targets = rng.integers(0, 261, length), rng.integers(0, 261, shape)
    return Example(tokens, targets, {"weights": weights, **filled})


def call(*examples: Example, loss: str = "cross_entropy", **changes: Any) -> ForwardBackward:
    return ForwardBackward("m", examples, loss, **changes)


@pytest.fixture
def started(bench: Bench) -> Bench:
    """Model "m", with a second factor that is not zero, so that every gradient counts."""
    bench.do(CreateAdapter("m", SPEC))
    weights = bench.adapter().weights
    noise = torch.randn(weights.shape, generator=torch.manual_seed(5)) * 0.05
    bench.put(replace(bench.adapter(), weights=weights + noise))
    return bench


def gradients(bench: Bench) -> torch.Tensor:
    found = bench.adapter().gradients
    assert found is not None
    return found


def forget(bench: Bench) -> None:
    """Let the model have no gradients."""
    bench.put(replace(bench.adapter(), gradients=None))


def logprobs(output: ForwardBackwardOutput, place: int = 0) -> Any:
    return output.loss_fn_outputs[place]["logprobs"].to_numpy()


def test_a_new_adapter_changes_nothing(bench: Bench, base: Base) -> None:
    datum = example(9, 1)
    tokens = torch.from_numpy(datum.tokens).unsqueeze(0)
    with torch.no_grad():
        plain = base.model(tokens).logits.log_softmax(-1)[0]
    bench.do(CreateAdapter("m", SPEC))
    output = bench.do(call(datum, forward_only=True))
    expected = plain.gather(-1, torch.from_numpy(datum.targets).unsqueeze(-1)).squeeze(-1)
    np.testing.assert_allclose(logprobs(output), expected.numpy(), atol=1e-5)


def test_padding_and_batching_change_nothing(started: Bench) -> None:
    examples = [example(length, length) for length in (3, 40, 17, 90, 8, 64, 5)]
    together = started.do(call(*examples))
    whole = gradients(started)
    forget(started)
    alone = [started.do(call(datum)) for datum in examples]
    torch.testing.assert_close(whole, gradients(started), atol=1e-4, rtol=1e-4)
    for place, single in enumerate(alone):
        np.testing.assert_allclose(logprobs(together, place), logprobs(single), atol=1e-4)
    total = sum(single.metrics["loss:sum"] for single in alone)
    assert together.metrics["loss:sum"] == pytest.approx(total, rel=1e-5)


def test_metrics_are_the_sums(started: Bench) -> None:
    datum = example(30, 2)
    output = started.do(call(datum))
    weights = datum.columns["weights"]
    expected = float(-(logprobs(output) * weights).sum())
    assert output.metrics["loss:sum"] == pytest.approx(expected, rel=1e-5)
    assert output.metrics["num_tokens:sum"] == np.count_nonzero(weights)
    assert all(name.count(":") == 1 for name in output.metrics)


def test_two_dimensional_targets(started: Bench) -> None:
    wide, narrow = example(12, 3, width=5), example(12, 4)
    output = started.do(call(wide, narrow))
    assert output.loss_fn_outputs[0]["logprobs"].shape == [12, 5]
    assert output.loss_fn_outputs[1]["logprobs"].shape == [12]
    column = Example(wide.tokens, wide.targets[:, 2], {"weights": wide.columns["weights"][:, 2]})
    single = started.do(call(column, forward_only=True))
    np.testing.assert_allclose(logprobs(output)[:, 2], logprobs(single), atol=1e-5)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_gradient_is_the_slope_of_the_loss(started: Bench, loss: str) -> None:
    # No token at a bound, nor near enough to reach one. Cispo's slope is of another function than
    # its value, so its bounds hold the factor fixed everywhere.
    bounds = {"ppo": (0.01, 1e9), "cispo": (2.0, 2.0)}.get(loss)
    names = ("clip_low_threshold", "clip_high_threshold")
    settings = loss_settings(loss, dict(zip(names, bounds, strict=True)) if bounds else None)
    extra: Any = {} if loss == "cross_entropy" else {"logprobs": -6.0, "advantages": 0.7}
    work = call(example(20, 6, **extra), loss=loss, settings=settings)
    started.do(work)
    before, direction = started.adapter(), gradients(started) / gradients(started).norm()
    slope, size = float(gradients(started) @ direction), 1e-3
    ends = []
    for side in (size, -size):
        started.put(replace(before, weights=before.weights.add(direction, alpha=side)))
        ends.append(started.do(replace(work, forward_only=True)).metrics["loss:sum"])
    assert (ends[0] - ends[1]) / (2 * size) == pytest.approx(slope, rel=0.02)


def test_gradients_add_up_until_the_step(started: Bench) -> None:
    one, two = example(10, 7), example(12, 8)
    started.do(call(one))
    started.do(call(two))
    apart = gradients(started)
    forget(started)
    started.do(call(one, two))
    torch.testing.assert_close(apart, gradients(started), atol=1e-4, rtol=1e-4)
    started.do(OptimStep("m", AdamParams()))
    assert started.adapter().gradients is None


def test_forward_only_leaves_no_gradient(started: Bench) -> None:
    before = started.adapter()
    started.do(call(example(10, 7), forward_only=True))
    assert started.adapter() is before
    assert before.gradients is None


def test_a_failed_call_leaves_the_gradients(started: Bench) -> None:
    started.do(call(example(10, 7)))
    before, kept = started.adapter(), gradients(started).clone()
    good = example(90, 9, logprobs=-5.0, advantages=1.0)
    bad = example(10, 8, logprobs=-1e30, advantages=1.0)
    with pytest.raises(InvalidInputError, match="not finite"):
        started.do(call(good, bad, loss="importance_sampling"))
    assert started.adapter() is before
    torch.testing.assert_close(gradients(started), kept, atol=0, rtol=0)


def test_what_was_there_never_changes(started: Bench) -> None:
    before, weights = started.adapter(), started.adapter().weights.clone()
    started.do(call(example(10, 7)))
    with_gradients, kept = started.adapter(), gradients(started).clone()
    started.do(call(example(12, 8)))
    started.do(OptimStep("m", AdamParams(learning_rate=0.1)))
    started.do(OptimStep("m", AdamParams(learning_rate=0.1)))
    assert not torch.equal(started.adapter().weights, weights)
    assert torch.equal(before.weights, weights)
    assert before.gradients is None
    assert with_gradients.gradients is not None
    assert torch.equal(with_gradients.gradients, kept)


@pytest.mark.parametrize(
    "params",
    [
        AdamParams(learning_rate=1e-2),
        AdamParams(learning_rate=1e-2, beta1=0.5, beta2=0.7, eps=1e-3, weight_decay=0.3),
        AdamParams(learning_rate=1e-2, grad_clip_norm=0.5),
        AdamParams(learning_rate=1e-2, eps=0.0),
    ],
)
def test_adamw_is_torchs(started: Bench, params: AdamParams) -> None:
    twin = torch.nn.Parameter(started.adapter().weights.clone())
    optimizer = torch.optim.AdamW(
        [twin],
        lr=params.learning_rate,
        betas=(params.beta1, params.beta2),
        eps=params.eps or 1e-30,
        weight_decay=params.weight_decay,
    )
    for seed in range(4):
        started.do(call(example(20, seed)))
        twin.grad = gradients(started).clone()
        norm = float(twin.grad.norm())
        if params.grad_clip_norm:
            torch.nn.utils.clip_grad_norm_([twin], params.grad_clip_norm)
        optimizer.step()
        metrics = started.do(OptimStep("m", params))
        assert metrics["grad_norm"] == pytest.approx(norm, rel=1e-5)
        assert metrics["step"] == seed + 1
        torch.testing.assert_close(started.adapter().weights, twin.detach(), atol=1e-6, rtol=1e-5)


def test_a_step_without_gradients(started: Bench) -> None:
    before = started.adapter().weights
    with pytest.raises(InvalidInputError, match="forward_backward first"):
        started.do(OptimStep("m", AdamParams(), needs_gradients=True))
    assert started.do(OptimStep("m", AdamParams()))["grad_norm"] == 0.0
    torch.testing.assert_close(started.adapter().weights, before)


def test_a_step_to_weights_that_are_not_finite_is_not_done(started: Bench) -> None:
    started.do(call(example(10, 7)))
    before = started.adapter()
    with pytest.raises(InvalidInputError, match="Lower the learning rate"):
        started.do(OptimStep("m", AdamParams(learning_rate=1e39)))
    assert started.adapter() is before


def test_adapters_do_not_mix(started: Bench) -> None:
    other = AdapterSpec(8, 16.0, frozenset({"attn"}), 2)
    started.do(CreateAdapter("same-shape", SPEC))
    started.do(CreateAdapter("other-shape", other))
    datum = example(16, 11)
    before = started.do(call(datum, forward_only=True)).metrics
    for model_id in ("same-shape", "other-shape"):
        started.do(ForwardBackward(model_id, (datum,), "cross_entropy"))
        started.do(OptimStep(model_id, AdamParams(learning_rate=0.1)))
    assert started.do(call(datum, forward_only=True)).metrics == before


def test_seeds_make_adapters_repeatable(bench: Bench) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4), ("d", None), ("e", None)):
        bench.do(CreateAdapter(name, AdapterSpec(4, 32.0, ALL, seed)))
    weights = {name: bench.adapter(name).weights for name in "abcde"}
    assert torch.equal(weights["a"], weights["b"])
    assert not torch.equal(weights["a"], weights["c"])
    assert not torch.equal(weights["d"], weights["e"])


def test_groups_choose_the_layers(bench: Bench) -> None:
    names = {}
    groups: tuple[LayerGroup, ...] = ("attn", "mlp", "unembed")
    for group in groups:
        bench.do(CreateAdapter(group, AdapterSpec(2, 32.0, frozenset({group}))))
        layout = bench.workshop.lora.layout(bench.adapter(group).shape)
        assert layout.size == len(bench.adapter(group).weights)
        names[group] = {key.split(".lora_")[0].rpartition(".")[2] for key in layout.keys}
    assert names == {
        "attn": {"q_proj", "k_proj", "v_proj", "o_proj"},
        "mlp": {"gate_proj", "up_proj", "down_proj"},
        "unembed": {"lm_head"},
    }


def test_a_removed_model_is_unknown(started: Bench) -> None:
    started.do(RemoveAdapter("m"))
    with pytest.raises(UnknownNameError, match="m does not exist"):
        started.do(call(example(5, 1)))
