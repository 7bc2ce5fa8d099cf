"""Devices: a batch that does not fit is split; a GPU is used where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.server.conftest import Bench
from tinker_nb.data.chat import ChatTokenizer
from tinker_nb.errors import ConfigurationError
from tinker_nb.server.engine.base import load_base
from tinker_nb.server.engine.work import (
    AdapterSpec,
    CreateAdapter,
    Example,
    ForwardBackward,
    LiveWeights,
    OptimStep,
    Sample,
)
from tinker_nb.server.engine.workshop import Workshop
from tinker_nb.wire.params import AdamParams, SamplingParams

SPEC = AdapterSpec(4, 32.0, frozenset({"attn", "mlp"}), 1)
TEXT = np.array(list(b"the same again and again"), dtype=np.int64)


def example(length: int) -> Example:
    tokens = TEXT[:length]
    weights = np.ones(length - 1, dtype=np.float32)
    return Example(tokens[:-1], tokens[1:], {"weights": weights})


def test_a_batch_that_does_not_fit_is_split(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.do(CreateAdapter("m", SPEC))
    work = ForwardBackward(
        "m", tuple(example(length) for length in (9, 20, 14, 7)), "cross_entropy"
    )
    whole = bench.do(work)
    gradients = bench.adapter().gradients
    assert gradients is not None
    trainer: Any = bench.workshop._trainer
    compute, seen = type(trainer)._batch, []

    def cramped(self: Any, adapter: Any, batch: Any, *rest: Any) -> Any:
        seen.append(len(batch.places))
        if len(batch.places) > 1:
            raise torch.OutOfMemoryError
        return compute(self, adapter, batch, *rest)

    monkeypatch.setattr(type(trainer), "_batch", cramped)
    split = bench.do(work)
    both = bench.adapter().gradients
    assert both is not None
    assert seen == [4, 2, 1, 1, 2, 1, 1]
    torch.testing.assert_close(both, 2 * gradients, rtol=1e-4, atol=1e-4)
    assert split.metrics["loss:sum"] == pytest.approx(whole.metrics["loss:sum"], rel=1e-5)


def test_gradient_checkpointing_computes_the_same(llama_dir: Path, tmp_path: Path) -> None:
    found = []
    for checkpointing in (False, True):
        base = load_base(str(llama_dir), gradient_checkpointing=checkpointing)
        living = tmp_path / str(checkpointing)
        living.mkdir()
        bench = Bench(Workshop(base, lambda _: "", living, batch_tokens=256))
        bench.do(CreateAdapter("m", SPEC))
        bench.do(ForwardBackward("m", (example(20),), "cross_entropy"))
        found.append(bench.adapter().gradients)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused(llama_dir: Path) -> None:
    with pytest.raises(ConfigurationError, match="no cuda"):
        load_base(str(llama_dir), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_in_bfloat16_learns_and_draws(llama_dir: Path, tmp_path: Path) -> None:
    base = load_base(str(llama_dir))
    assert (base.model.device.type, base.model.dtype) == ("cuda", torch.bfloat16)
    tokenizer = ChatTokenizer.from_directory(base.facts.directory)
    bench = Bench(Workshop(base, tokenizer.decode, tmp_path, batch_tokens=256))
    bench.do(CreateAdapter("m", SPEC))
    losses = []
    for _ in range(30):
        output = bench.do(ForwardBackward("m", (example(20),), "cross_entropy"))
        losses.append(output.metrics["loss:sum"])
        bench.do(OptimStep("m", AdamParams(learning_rate=1e-2)))
    assert losses[-1] < losses[0] / 2
    assert bench.adapter().weights.dtype == torch.float32
    params = SamplingParams(max_tokens=8, temperature=0.0, stop=[])
    mixed = [Sample(weights, TEXT[:8], params) for weights in (LiveWeights("m"), None)]
    tuned, plain = (bench.do(request) for request in mixed)
    assert tuned.sequences[0].tokens != plain.sequences[0].tokens
