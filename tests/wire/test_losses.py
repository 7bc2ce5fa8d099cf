"""What is refused before anything is sent, and that the sentence names the place."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.wire.data import Datum, ModelInput
from tinker_nb.wire.losses import (
    LOSSES,
    LOSSES_ELSEWHERE,
    LossName,
    check_data,
    loss_settings,
    loss_spec,
)

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
        ("cispo", POLICY),
        ("cispo", POLICY | {"weights": [0, 1]}),
        ("dro", POLICY),
        ("dro", POLICY | {"weights": [0.5, 1]}),
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


@pytest.mark.parametrize("loss", sorted(LOSSES_ELSEWHERE))
def test_a_loss_of_other_servers_is_refused_by_name(loss: str) -> None:
    with pytest.raises(UnknownNameError, match=f"{loss!r} is not offered by this server; it has"):
        check_data([datum([1, 2], **POLICY)], loss)


@pytest.mark.parametrize("loss", ["importance_sampling", "ppo", "cispo", "dro"])
@pytest.mark.parametrize("name", sorted(POLICY))
def test_policy_losses_need_their_inputs(loss: str, name: str) -> None:
    inputs = {key: values for key, values in POLICY.items() if key != name}
    with pytest.raises(InvalidInputError, match=f"lacks {name!r}, which {loss} reads"):
        check_data([datum([1, 2], **inputs)], loss)


def test_the_names_are_the_losses_and_no_other_servers() -> None:
    assert set(get_args(LossName)) == set(LOSSES) == {loss_spec(name).name for name in LOSSES}
    assert not LOSSES_ELSEWHERE.intersection(LOSSES)


@pytest.mark.parametrize(
    ("loss", "config", "settings"),
    [
        ("cross_entropy", None, {}),
        ("importance_sampling", {}, {}),
        ("ppo", None, {"clip_low_threshold": 0.8, "clip_high_threshold": 1.2}),
        (
            "ppo",
            {"clip_low_threshold": 0.5},
            {"clip_low_threshold": 0.5, "clip_high_threshold": 1.2},
        ),
        ("cispo", None, {"clip_low_threshold": 0.0, "clip_high_threshold": 4.0}),
        (
            "cispo",
            {"clip_high_threshold": 2},
            {"clip_low_threshold": 0.0, "clip_high_threshold": 2.0},
        ),
        ("dro", None, {"beta": 0.05}),
        ("dro", {"beta": 1}, {"beta": 1.0}),
    ],
)
def test_settings_have_defaults(
    loss: str, config: dict[str, float | str] | None, settings: dict[str, float]
) -> None:
    assert loss_settings(loss, config) == settings


@pytest.mark.parametrize(
    ("loss", "config", "said"),
    [
        ("ppo", {"beta": 1.0}, "no setting 'beta'; known: clip_low_threshold, clip_high_threshold"),
        ("cispo", {"beta": 1.0}, "no setting 'beta'"),
        ("dro", {"clip_low_threshold": 1.0}, "no setting 'clip_low_threshold'; known: beta"),
        ("cross_entropy", {"beta": 1.0}, "known: none"),
        ("dro", {"beta": "much"}, "'beta' must be a finite number"),
        ("dro", {"beta": float("nan")}, "'beta' must be a finite number"),
    ],
)
def test_settings_that_are_no_good_are_refused(
    loss: str, config: dict[str, float | str], said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        check_data([datum([1, 2], **POLICY)], loss, config)


def test_a_list_under_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="'rewards' is a plain list"):
        datum([1, 2], rewards=[1.0, 2.0])


def test_a_ragged_list_is_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match="'weights'"):
        datum([1, 2], weights=[[1.0], [1.0, 2.0]])
