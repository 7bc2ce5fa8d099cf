"""The training step on a real, small model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.server.engine.adapters import Adapter
from tinker_nb.server.engine.base import Base, load_base
from tinker_nb.server.engine.work import (
    AdapterSpec,
    CreateAdapter,
    Example,
    ForwardBackward,
    LayerGroup,
    OptimStep,
    RemoveAdapter,
    SaveAdapter,
)
from tinker_nb.server.engine.workshop import Workshop
from tinker_nb.wire.params import AdamParams

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
def adapter(workshop: Workshop) -> Adapter:
    """Model "m", with a second factor that is not zero, so that every gradient counts."""
    workshop.do(CreateAdapter("m", SPEC))
    adapter = workshop._live["m"]
    adapter.weights.add_(torch.randn(adapter.weights.shape, generator=torch.manual_seed(5)) * 0.05)
    return adapter


def test_a_new_adapter_changes_nothing(workshop: Workshop, base: Base) -> None:
    datum = example(9, 1)
    tokens = torch.from_numpy(datum.tokens).unsqueeze(0)
    with torch.no_grad():
        plain = base.model(tokens).logits.log_softmax(-1)[0]
    workshop.do(CreateAdapter("m", SPEC))
    output = workshop.do(call(datum, forward_only=True))
    expected = plain.gather(-1, torch.from_numpy(datum.targets).unsqueeze(-1)).squeeze(-1)
    ours = output.loss_fn_outputs[0]["logprobs"].to_numpy()
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-5)


def test_padding_and_batching_change_nothing(workshop: Workshop, adapter: Adapter) -> None:
    examples = [example(length, length) for length in (3, 40, 17, 90, 8, 64, 5)]
    together = workshop.do(call(*examples))
    gradients = adapter.gradients
    adapter.gradients = None
    alone = [workshop.do(call(datum)) for datum in examples]
    assert gradients is not None
    assert adapter.gradients is not None
    torch.testing.assert_close(gradients, adapter.gradients, atol=1e-4, rtol=1e-4)
    for place, single in enumerate(alone):
        ours = together.loss_fn_outputs[place]["logprobs"].to_numpy()
        np.testing.assert_allclose(
            ours, single.loss_fn_outputs[0]["logprobs"].to_numpy(), atol=1e-4
        )
    total = sum(single.metrics["loss:sum"] for single in alone)
    assert together.metrics["loss:sum"] == pytest.approx(total, rel=1e-5)


def test_metrics_are_the_sums(workshop: Workshop, adapter: Adapter) -> None:
    datum = example(30, 2)
    output = workshop.do(call(datum))
    weights = datum.columns["weights"]
    lp = output.loss_fn_outputs[0]["logprobs"].to_numpy()
    assert output.metrics["loss:sum"] == pytest.approx(float(-(lp * weights).sum()), rel=1e-5)
    assert output.metrics["num_tokens:sum"] == np.count_nonzero(weights)
    assert all(name.count(":") == 1 for name in output.metrics)


def test_two_dimensional_targets(workshop: Workshop, adapter: Adapter) -> None:
    wide, narrow = example(12, 3, width=5), example(12, 4)
    output = workshop.do(call(wide, narrow))
    assert output.loss_fn_outputs[0]["logprobs"].shape == [12, 5]
    assert output.loss_fn_outputs[1]["logprobs"].shape == [12]
    column = Example(wide.tokens, wide.targets[:, 2], {"weights": wide.columns["weights"][:, 2]})
    single = workshop.do(call(column, forward_only=True))
    ours = output.loss_fn_outputs[0]["logprobs"].to_numpy()[:, 2]
    np.testing.assert_allclose(ours, single.loss_fn_outputs[0]["logprobs"].to_numpy(), atol=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "importance_sampling", "ppo"])
def test_gradient_is_the_slope_of_the_loss(workshop: Workshop, adapter: Adapter, loss: str) -> None:
    settings = {"clip_low_threshold": 0.2, "clip_high_threshold": 5.0} if loss == "ppo" else {}
    extra: Any = {} if loss == "cross_entropy" else {"logprobs": -6.0, "advantages": 0.7}
    work = call(example(20, 6, **extra), loss=loss, settings=settings)
    workshop.do(work)
    assert adapter.gradients is not None
    direction = adapter.gradients / adapter.gradients.norm()
    slope, size = float(adapter.gradients @ direction), 1e-3
    ends = []
    for side in (size, -2 * size):
        adapter.weights.add_(direction, alpha=side)
        ends.append(workshop.do(call(*work.examples, loss=loss, settings=settings)).metrics)
    measured = (ends[0]["loss:sum"] - ends[1]["loss:sum"]) / (2 * size)
    assert measured == pytest.approx(slope, rel=0.02)


def test_gradients_add_up_until_the_step(workshop: Workshop, adapter: Adapter) -> None:
    one, two = example(10, 7), example(12, 8)
    workshop.do(call(one))
    workshop.do(call(two))
    apart = adapter.gradients
    adapter.gradients = None
    workshop.do(call(one, two))
    assert apart is not None
    assert adapter.gradients is not None
    torch.testing.assert_close(apart, adapter.gradients, atol=1e-4, rtol=1e-4)
    workshop.do(OptimStep("m", AdamParams()))
    assert adapter.gradients is None


def test_forward_only_leaves_no_gradient(workshop: Workshop, adapter: Adapter) -> None:
    workshop.do(call(example(10, 7), forward_only=True))
    assert adapter.gradients is None


def test_a_failed_call_leaves_the_gradients(workshop: Workshop, adapter: Adapter) -> None:
    workshop.do(call(example(10, 7)))
    assert adapter.gradients is not None
    before = adapter.gradients.clone()
    good = example(90, 9, logprobs=-5.0, advantages=1.0)
    bad = example(10, 8, logprobs=-1e30, advantages=1.0)
    with pytest.raises(InvalidInputError, match="not finite"):
        workshop.do(call(good, bad, loss="importance_sampling"))
    torch.testing.assert_close(adapter.gradients, before, atol=0, rtol=0)


@pytest.mark.parametrize(
    "params",
    [
        AdamParams(learning_rate=1e-2),
        AdamParams(learning_rate=1e-2, beta1=0.5, beta2=0.7, eps=1e-3, weight_decay=0.3),
        AdamParams(learning_rate=1e-2, grad_clip_norm=0.5),
        AdamParams(learning_rate=1e-2, eps=0.0),
    ],
)
def test_adamw_is_torchs(workshop: Workshop, adapter: Adapter, params: AdamParams) -> None:
    twin = torch.nn.Parameter(adapter.weights.clone())
    optimizer = torch.optim.AdamW(
        [twin],
        lr=params.learning_rate,
        betas=(params.beta1, params.beta2),
        eps=params.eps or 1e-30,
        weight_decay=params.weight_decay,
    )
    for seed in range(4):
        workshop.do(call(example(20, seed)))
        assert adapter.gradients is not None
        twin.grad = adapter.gradients.clone()
        norm = float(twin.grad.norm())
        if params.grad_clip_norm:
            torch.nn.utils.clip_grad_norm_([twin], params.grad_clip_norm)
        optimizer.step()
        metrics = workshop.do(OptimStep("m", params))
        assert metrics["grad_norm"] == pytest.approx(norm, rel=1e-5)
        torch.testing.assert_close(adapter.weights, twin.detach(), atol=1e-6, rtol=1e-5)


def test_a_step_without_gradients(workshop: Workshop, adapter: Adapter) -> None:
    before = adapter.weights.clone()
    with pytest.raises(InvalidInputError, match="forward_backward first"):
        workshop.do(OptimStep("m", AdamParams(), needs_gradients=True))
    assert workshop.do(OptimStep("m", AdamParams()))["grad_norm"] == 0.0
    torch.testing.assert_close(adapter.weights, before)


def test_adapters_do_not_mix(workshop: Workshop, adapter: Adapter) -> None:
    other = AdapterSpec(8, 16.0, frozenset({"attn"}), 2)
    workshop.do(CreateAdapter("same-shape", SPEC))
    workshop.do(CreateAdapter("other-shape", other))
    datum = example(16, 11)
    before = workshop.do(call(datum, forward_only=True)).metrics
    for model_id in ("same-shape", "other-shape"):
        workshop.do(ForwardBackward(model_id, (datum,), "cross_entropy"))
        workshop.do(OptimStep(model_id, AdamParams(learning_rate=0.1)))
    assert workshop.do(call(datum, forward_only=True)).metrics == before


def test_seeds_make_adapters_repeatable(workshop: Workshop) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4), ("d", None), ("e", None)):
        workshop.do(CreateAdapter(name, AdapterSpec(4, 32.0, ALL, seed)))
    weights = {name: adapter.weights for name, adapter in workshop._live.items()}
    assert torch.equal(weights["a"], weights["b"])
    assert not torch.equal(weights["a"], weights["c"])
    assert not torch.equal(weights["d"], weights["e"])


def test_groups_choose_the_layers(workshop: Workshop) -> None:
    keys = {}
    groups: tuple[LayerGroup, ...] = ("attn", "mlp", "unembed")
    for group in groups:
        workshop.do(CreateAdapter(group, AdapterSpec(2, 32.0, frozenset({group}))))
        slot = workshop._slots.slot(workshop._live[group].shape)
        keys[group] = {key.split(".lora_")[0].rpartition(".")[2] for key in slot.keys}
    assert keys == {
        "attn": {"q_proj", "k_proj", "v_proj", "o_proj"},
        "mlp": {"gate_proj", "up_proj", "down_proj"},
        "unembed": {"lm_head"},
    }


def test_a_removed_model_is_unknown(workshop: Workshop, adapter: Adapter) -> None:
    workshop.do(RemoveAdapter("m"))
    with pytest.raises(UnknownNameError, match="m does not exist"):
        workshop.do(call(example(5, 1)))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # inside PEFT
def test_a_checkpoint_loads_in_peft(
    workshop: Workshop, adapter: Adapter, llama_dir: Path, tmp_path: Path
) -> None:
    from peft import PeftModel

    directory = tmp_path / "ck"
    size = workshop.do(SaveAdapter("m", directory))
    assert size == sum(file.stat().st_size for file in directory.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ck"]
    datum = example(30, 12)
    ours = workshop.do(call(datum, forward_only=True)).loss_fn_outputs[0]["logprobs"].to_numpy()
    theirs = PeftModel.from_pretrained(load_base(str(llama_dir)).model, str(directory))
    with torch.no_grad():
        inner: Any = theirs.base_model.model
        logits = inner(torch.from_numpy(datum.tokens).unsqueeze(0)).logits[0]
    chosen = logits.log_softmax(-1).gather(-1, torch.from_numpy(datum.targets).unsqueeze(-1))
    np.testing.assert_allclose(ours, chosen.squeeze(-1).numpy(), atol=1e-5)
