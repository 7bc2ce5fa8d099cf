"""What is refused before anything is sent, and that the sentence names the place."""

from __future__ import annotations

from typing import Any

import pytest

from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.wire.data import Datum, ModelInput
from tinker_nb.wire.losses import check_data, loss_settings

GOOD: dict[str, Any] = {"target_tokens": [2, 3], "weights": [1.0, 1.0]}
POLICY: dict[str, Any] = {
    "target_tokens": [2, 3],
    "logprobs": [-1.0, -1.0],
    "advantages": [1.0, -1.0],
}


def datum(tokens: list[int], **inputs: Any) -> Datum:
    return Datum(ModelInput.from_ints(tokens), inputs)


@pytest.mark.parametrize(
    ("loss", "inputs"),
    [
        ("cross_entropy", GOOD),
        ("importance_sampling", POLICY),
        ("ppo", POLICY | {"weights": [0, 1]}),
    ],
)
def test_good_data_pass(loss: str, inputs: dict[str, Any]) -> None:
    check_data([datum([1, 2], **inputs)], loss)


def test_targets_of_two_dimensions_pass() -> None:
    targets = {"target_tokens": [[2, 3], [4, 5]], "weights": [[1.0, 0.5], [0.0, 0.0]]}
    check_data([datum([1, 2], **targets)], "cross_entropy")


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"weights": [1.0, 1.0]}, "lacks 'target_tokens'"),
        (GOOD | {"weights": [1.0]}, "'weights' has 1 rows"),
        (GOOD | {"advantages": [1.0, 1.0]}, "does not read"),
        (GOOD | {"weights": [1.0, float("nan")]}, "not finite"),
        (GOOD | {"weights": [[1.0], [1.0]]}, "has shape"),
    ],
)
def test_data_that_do_not_fit_are_refused(inputs: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        check_data([datum([1, 2], **GOOD), datum([1, 2], **inputs)], "cross_entropy")


def test_the_datum_is_named() -> None:
    with pytest.raises(InvalidInputError, match="Datum 1"):
        check_data([datum([1, 2], **GOOD), datum([1], **GOOD)], "cross_entropy")


def test_no_data_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="no data"):
        check_data([], "cross_entropy")


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cross_entropy'"):
        check_data([datum([1, 2], **GOOD)], "cross_entropi")


def test_settings_have_defaults_and_unknown_ones_are_refused() -> None:
    assert loss_settings("ppo", {"clip_low_threshold": 0.5}) == {
        "clip_low_threshold": 0.5,
        "clip_high_threshold": 1.2,
    }
    with pytest.raises(InvalidInputError, match="no setting 'beta'"):
        loss_settings("ppo", {"beta": 1.0})


def test_a_list_under_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="'rewards' is a plain list"):
        datum([1, 2], rewards=[1.0, 2.0])


def test_a_ragged_list_is_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match="'weights'"):
        datum([1, 2], weights=[[1.0], [1.0, 2.0]])
