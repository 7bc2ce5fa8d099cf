"""Several results as one, by the protocol's table and beside the official SDK's own function."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from tinker import types
from tinker.lib.chunked_fwdbwd_helpers import combine_fwd_bwd_output_results

from tinker_nb.wire.metrics import merge_metrics, merge_outputs
from tinker_nb.wire.results import ForwardBackwardOutput
from tinker_nb.wire.tensors import TensorData

SUFFIXES = ("sum", "min", "max", "mean", "slack", "hash2", "unique", "median")


def output(datums: int, metrics: dict[str, float], kind: str = "Record") -> ForwardBackwardOutput:
    outputs = [{"logprobs": TensorData(np.full(2, n), "float32")} for n in range(datums)]
    return ForwardBackwardOutput(kind, outputs, metrics)


@pytest.mark.parametrize(
    ("name", "merged"),
    [
        ("x:sum", {"x:sum": 7.0}),
        ("x:min", {"x:min": 1.0}),
        ("x:max", {"x:max": 4.0}),
        ("x:mean", {"x:mean": (1 * 1.0 + 2 * 4.0 + 1 * 2.0) / 4}),
        ("x:slack", {"x:slack": 4.0 - 11.0 / 4}),
        ("x:hash2", {"x:hash2": 7}),
        ("x:unique", {"x:unique": 1.0, "x:unique_1": 4.0, "x:unique_2": 2.0}),
        ("x:median", {}),
        ("sum", {}),
        ("x", {}),
    ],
)
def test_the_suffix_says_how(name: str, merged: dict[str, float]) -> None:
    assert merge_metrics([{name: 1.0}, {name: 4.0}, {name: 2.0}], [1, 2, 1]) == merged


def test_what_not_all_have_is_left_out() -> None:
    first, second = {"a:sum": 1.0, "b:sum": 1.0}, {"b:sum": 2.0, "c:sum": 2.0}
    assert merge_metrics([first, second], [1, 1]) == {"b:sum": 3.0}


def test_a_hash_wraps_around() -> None:
    assert merge_metrics([{"h:hash2": 2.0**63}] * 3, [1] * 3) == {"h:hash2": 2**63}
    assert merge_metrics([{"h:hash2": -1.0}, {"h:hash2": 0.0}], [1, 1]) == {"h:hash2": 2**64 - 1}


@pytest.mark.parametrize(("name", "value"), [("x:mean", 2.0), ("x:slack", 1.0)])
def test_parts_without_datums_count_alike_when_there_are_no_others(name: str, value: float) -> None:
    assert merge_metrics([{name: 1.0}, {name: 3.0}], [0, 0]) == {name: value}


def test_one_part_alone_stays_as_it_is() -> None:
    only = output(1, {"loss": 1.0, "a:b:c": 2.0, "x:sum": 3.0})
    assert merge_outputs([only]) is only
    assert merge_metrics([only.metrics], [1]) == only.metrics


def test_outputs_stand_in_the_order_of_the_data() -> None:
    parts = [output(2, {}, "First"), output(0, {}), output(3, {}, "Last")]
    whole = merge_outputs(parts)
    assert whole.loss_fn_output_type == "First"
    assert whole.loss_fn_outputs == parts[0].loss_fn_outputs + parts[2].loss_fn_outputs


def random_parts(chance: random.Random) -> list[ForwardBackwardOutput]:
    names = [f"{letter}:{chance.choice(SUFFIXES)}" for letter in "abcdefgh"]
    parts = [
        output(
            chance.randrange(5),
            {
                name: float(chance.randrange(-(2**40), 2**40)) / (1 if "hash2" in name else 2**30)
                for name in chance.sample(names, k=len(names))
                if chance.random() < 0.95
            },
        )
        for _ in range(chance.randint(2, 6))
    ]
    # The official function divides by zero when nobody has a datum.
    return [*parts, output(1, dict(parts[0].metrics))]


def official(part: ForwardBackwardOutput) -> Any:
    outputs: Any = [
        {name: types.TensorData(data=tensor.data, dtype="float32", shape=tensor.shape)}
        for each in part.loss_fn_outputs
        for name, tensor in each.items()
    ]
    return types.ForwardBackwardOutput(part.loss_fn_output_type, outputs, part.metrics)


@pytest.mark.parametrize("seed", range(50))
def test_it_merges_as_the_official_sdk_does(seed: int) -> None:
    parts = random_parts(random.Random(seed))
    ours, theirs = merge_outputs(parts), combine_fwd_bwd_output_results([*map(official, parts)])
    assert ours.loss_fn_output_type == theirs.loss_fn_output_type
    assert len(ours.loss_fn_outputs) == len(theirs.loss_fn_outputs)
    assert list(ours.metrics) == list(theirs.metrics)
    for name, value in theirs.metrics.items():
        assert math.isclose(ours.metrics[name], value, rel_tol=1e-12, abs_tol=1e-9), name


def test_no_parts_at_all_give_the_official_nothing() -> None:
    ours, theirs = merge_outputs([]), combine_fwd_bwd_output_results([])
    assert vars(ours) == vars(theirs)
