"""The middle of a custom loss: what is sent, what the user's function may do, what comes back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from tinker import TrainingClient, types

from tinker_nb.client.custom_loss import (
    CustomLoss,
    Surrogate,
    check_torch,
    finish,
    forward_data,
    surrogate,
)
from tinker_nb.errors import (
    APIResponseValidationError,
    ConfigurationError,
    InvalidInputError,
    TinkerError,
)
from tinker_nb.wire.data import Datum, ModelInput
from tinker_nb.wire.results import ForwardBackwardOutput
from tinker_nb.wire.tensors import TensorData

TARGETS: list[Any] = [[3, 1, 4], [1, 5], [[2, 6], [5, 3], [0, 0], [1, 1]]]


def datum(targets: Any, **inputs: Any) -> Datum:
    return Datum(ModelInput.from_ints([7] * len(targets)), {"target_tokens": targets, **inputs})


DATA = [datum(targets) for targets in TARGETS]
RANDOM = np.random.default_rng(0)
LOGPROBS = [-RANDOM.exponential(size=np.shape(targets)).astype(np.float32) for targets in TARGETS]


def outputs(logprobs: list[Any], **metrics: float) -> ForwardBackwardOutput:
    named = [{"logprobs": TensorData.from_numpy(np.asarray(each))} for each in logprobs]
    return ForwardBackwardOutput("Record", named, metrics)


def run(loss_fn: CustomLoss, *, with_gradients: bool = False) -> Surrogate:
    return surrogate(DATA, loss_fn, outputs(LOGPROBS), with_gradients)


def weights(found: Surrogate) -> list[Any]:
    return [each.loss_fn_inputs["weights"].to_numpy() for each in found.data]


def smooth(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
    """Return a loss that mixes all log-probabilities, so that no gradient is easy."""
    total = sum((each.exp() * each).sum() for each in logprobs)
    return total**2 + logprobs[0].sin().sum() * logprobs[1].sum(), {"total": total}


def smooth_in_numpy(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
    total = sum(float((np.exp(each) * each).sum()) for each in logprobs)
    first, second, _ = logprobs
    gradients = [2 * total * np.exp(each) * (1 + each) for each in logprobs]
    gradients[0] = gradients[0] + np.cos(first) * second.sum()
    gradients[1] = gradients[1] + np.sin(first).sum()
    return total**2 + np.sin(first).sum() * second.sum(), gradients, {"total": total}


# The forward call --------------------------------------------------------------------------------


def test_only_targets_and_weights_are_asked_with() -> None:
    asked = forward_data([datum([1, 2], weights=[1.0, 0.5], advantages=[1.0, 1.0])])
    assert asked == [datum([1, 2], weights=[1.0, 0.5])]


def test_weights_that_are_absent_are_zeros_in_the_shape_of_the_targets() -> None:
    for given, asked in zip(DATA, forward_data(DATA), strict=True):
        assert asked.model_input == given.model_input
        shape = given.loss_fn_inputs["target_tokens"].shape
        assert asked.loss_fn_inputs["weights"] == TensorData(np.zeros(shape or []), "float32")
        assert asked.loss_fn_inputs["weights"].shape == shape


def test_sparse_targets_get_dense_zeros() -> None:
    sparse = TensorData([5], "int64", [2, 3], [0, 1, 1], [2])
    asked = forward_data([Datum(ModelInput.from_ints([1, 2]), {"target_tokens": sparse})])
    assert asked[0].loss_fn_inputs["target_tokens"] is sparse
    assert asked[0].loss_fn_inputs["weights"].shape == [2, 3]


def test_the_users_data_stay_as_they_were() -> None:
    given = datum([1, 2], advantages=[1.0, 2.0])
    forward_data([given])
    surrogate([given], lambda _, lp: (lp[0].sum(), {}), outputs([np.zeros(2)]), False)
    assert given == datum([1, 2], advantages=[1.0, 2.0])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "no data"),
        ([datum([1, 2]), Datum(ModelInput.from_ints([1]), {})], "Datum 1 lacks 'target_tokens'"),
        ([datum([1, 2], weights=[1.0])], "'weights' has 1 rows"),
    ],
)
def test_data_that_do_not_fit_are_refused(data: list[Datum], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        forward_data(data)


# The gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss_fn", "with_gradients"),
    [(smooth, False), (smooth_in_numpy, True)],
    ids=["torch", "numpy"],
)
def test_the_surrogate_has_the_gradient_of_the_loss(
    loss_fn: CustomLoss, with_gradients: bool
) -> None:
    # Through a model: what counts is the gradient of its parameters.
    sizes = [each.size for each in LOGPROBS]
    parameters = torch.tensor(RANDOM.normal(size=(4, sum(sizes))), requires_grad=True)
    flat = torch.nn.functional.logsigmoid(parameters).sum(0)
    model = [
        part.reshape(each.shape)
        for part, each in zip(torch.split(flat, sizes), LOGPROBS, strict=True)
    ]
    (expected,) = torch.autograd.grad(smooth(DATA, model)[0], parameters, retain_graph=True)

    seen = outputs([each.detach().numpy() for each in model])
    found = surrogate(DATA, loss_fn, seen, with_gradients)
    cross_entropy: Any = sum(
        (-each * torch.tensor(weight)).sum()
        for each, weight in zip(model, weights(found), strict=True)
    )
    (actual,) = torch.autograd.grad(cross_entropy, parameters)
    np.testing.assert_allclose(actual.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_the_function_sees_all_inputs_and_tensors_in_the_shape_of_the_targets() -> None:
    data = [datum([1, 2], advantages=[1.0, -2.0])]

    def loss_fn(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
        assert logprobs[0].dtype == torch.float32
        advantages = data[0].loss_fn_inputs["advantages"].to_torch()
        return -(logprobs[0] * advantages).sum(), {}

    # Some servers give their tensors flat, or with a dimension too many.
    for shape in ([2], [2, 1]):
        seen = outputs([np.full(shape, -0.5)])
        found = surrogate(data, loss_fn, seen, False)
        assert found.data == [datum([1, 2], weights=[1.0, -2.0])]


def test_what_the_function_does_to_its_tensors_does_not_show() -> None:
    seen = outputs(LOGPROBS)
    before = [each["logprobs"].to_numpy().copy() for each in seen.loss_fn_outputs]

    def loss_fn(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
        for each in logprobs:
            each[...] = 9.0
        return 0.0, [np.zeros_like(each) for each in logprobs], {}

    surrogate(DATA, loss_fn, seen, True)
    for kept, each in zip(before, seen.loss_fn_outputs, strict=True):
        np.testing.assert_array_equal(each["logprobs"].to_numpy(), kept)


def test_metrics_may_be_any_sort_of_number() -> None:
    metrics = {"a": 1, "b": torch.tensor([2.5]), "c": np.float64(3.5), "d": True}
    found = run(lambda _, lp: (sum(each.sum() for each in lp), metrics))
    assert found.metrics == {"a": 1.0, "b": 2.5, "c": 3.5, "d": 1.0}
    assert {type(value) for value in found.metrics.values()} == {float}


# Without torch -----------------------------------------------------------------------------------


def test_without_torch_gradients_in_numpy_still_work(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(smooth_in_numpy, with_gradients=True)
    monkeypatch.setitem(sys.modules, "torch", None)
    found = run(smooth_in_numpy, with_gradients=True)
    assert (found.loss, found.metrics, found.data) == (
        expected.loss,
        expected.metrics,
        expected.data,
    )


def test_without_torch_a_loss_to_differentiate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_torch()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigurationError, match=r"Install torch.*NumPy"):
        check_torch()
    with pytest.raises(ConfigurationError):
        run(smooth)


# Mistakes ----------------------------------------------------------------------------------------


def failing(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
    raise KeyError("reward")


@pytest.mark.parametrize("with_gradients", [False, True])
def test_what_the_function_raised_is_the_cause(with_gradients: bool) -> None:
    with pytest.raises(InvalidInputError, match="custom loss failed: KeyError: 'reward'") as caught:
        run(failing, with_gradients=with_gradients)
    assert isinstance(caught.value.__cause__, KeyError)


def test_what_autograd_raised_is_the_cause() -> None:
    def twice(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
        loss = sum((each**2).sum() for each in logprobs)
        loss.backward()
        return loss, {}

    with pytest.raises(InvalidInputError, match="custom loss failed: RuntimeError") as caught:
        run(twice)
    assert isinstance(caught.value.__cause__, RuntimeError)


TORCH_MISTAKES: list[tuple[str, Callable[[list[Any]], Any]]] = [
    ("must return \\(loss, metrics\\)", lambda lp: lp[0].sum()),
    ("must return \\(loss, metrics\\)", lambda lp: (lp[0].sum(), lp, {})),
    ("must be a torch tensor, not a float", lambda lp: (lp[0].sum().item(), {})),
    ("must be one number", lambda lp: (lp[0], {})),
    ("The loss is nan", lambda lp: (lp[0].sum() * float("nan"), {})),
    ("does not depend on the log-probabilities, as", lambda lp: (torch.tensor(1.0), {})),
    ("log-probabilities of datum 2", lambda lp: (lp[0].sum() + lp[1].sum(), {})),
    (
        "gradient of datum 0 holds a value that is not finite",
        lambda lp: (sum((each - each).sqrt().sum() for each in lp), {}),
    ),
    ("metrics must be a dict of numbers, not a NoneType", lambda lp: (total(lp), None)),
    ("metric 'm' must be one number", lambda lp: (total(lp), {"m": "1.0"})),
    ("metric 'm' must be one number", lambda lp: (total(lp), {"m": lp[0]})),
    ("metric 'm' must be one number", lambda lp: (total(lp), {"m": None})),
    ("metric 3 must be one number", lambda lp: (total(lp), {3: 1.0})),
]

NUMPY_MISTAKES: list[tuple[str, Callable[[list[Any]], Any]]] = [
    ("must return \\(loss, gradients, metrics\\)", lambda lp: (0.0, {})),
    ("must be one number", lambda lp: (lp[0], lp, {})),
    ("must be one number", lambda lp: (None, lp, {})),
    ("The loss is inf", lambda lp: (np.inf, lp, {})),
    ("one gradient per datum, 3 in all", lambda lp: (0.0, lp[:2], {})),
    ("one gradient per datum, 3 in all", lambda lp: (0.0, None, {})),
    ("gradient of datum 1 has the shape \\[1, 2\\]", lambda lp: (0.0, [lp[0], [lp[1]], lp[2]], {})),
    ("gradient of datum 1 is no array", lambda lp: (0.0, [lp[0], "ab", lp[2]], {})),
    ("gradient of datum 2 is no array", lambda lp: (0.0, [*lp[:2], [[1], [1, 2]]], {})),
    ("does not depend on .* datum 2", lambda lp: (0.0, [*lp[:2], None], {})),
    ("datum 0 holds a value that is not finite", lambda lp: (0.0, [lp[0] * np.nan, *lp[1:]], {})),
    # Larger than float32, as which it would travel.
    ("datum 0 holds a value that", lambda lp: (0.0, [np.full(3, 1e300), *lp[1:]], {})),
    ("metric 'm' must be one number", lambda lp: (0.0, lp, {"m": [1.0]})),
]


def total(logprobs: list[Any]) -> Any:
    return sum(each.sum() for each in logprobs)


@pytest.mark.parametrize(("said", "returned"), TORCH_MISTAKES)
def test_what_makes_no_torch_loss_is_refused(
    said: str, returned: Callable[[list[Any]], Any]
) -> None:
    with pytest.raises(InvalidInputError, match=said) as caught:
        run(lambda _, logprobs: returned(logprobs))
    assert caught.value.advice == "No gradients were added."


@pytest.mark.parametrize(("said", "returned"), NUMPY_MISTAKES)
def test_what_makes_no_numpy_loss_is_refused(
    said: str, returned: Callable[[list[Any]], Any]
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        run(lambda _, logprobs: returned(logprobs), with_gradients=True)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (outputs(LOGPROBS[:2]), "of 2 datums instead of 3"),
        (outputs([LOGPROBS[0], LOGPROBS[0], LOGPROBS[2]]), "3 log-probabilities of datum 1"),
        (ForwardBackwardOutput("", [{}, {}, {}]), "0 log-probabilities of datum 0"),
    ],
)
def test_log_probabilities_that_do_not_fit_are_the_servers_fault(
    seen: ForwardBackwardOutput, said: str
) -> None:
    with pytest.raises(APIResponseValidationError, match=said) as caught:
        surrogate(DATA, smooth, seen, False)
    assert isinstance(caught.value, TinkerError)
    assert caught.value.fault == "server"


# Beside the official SDK -------------------------------------------------------------------------


def official_tensor(tensor: TensorData) -> Any:
    return types.TensorData(data=tensor.data, dtype=tensor.dtype, shape=tensor.shape)


def official_datum(mine: Datum) -> Any:
    inputs: Any = {name: official_tensor(each) for name, each in mine.loss_fn_inputs.items()}
    tokens = types.ModelInput.from_ints(mine.model_input.to_ints())
    return types.Datum(model_input=tokens, loss_fn_inputs=inputs)


def official_output(mine: ForwardBackwardOutput) -> Any:
    named: Any = [
        {name: official_tensor(each) for name, each in output.items()}
        for output in mine.loss_fn_outputs
    ]
    return types.ForwardBackwardOutput(mine.loss_fn_output_type, named, dict(mine.metrics))


def tensors(datum: Any) -> dict[str, tuple[str, list[Any]]]:
    return {name: (each.dtype, each.tolist()) for name, each in datum.loss_fn_inputs.items()}


def test_the_forward_data_are_the_official_ones() -> None:
    data = [*DATA, datum([1, 2], weights=[1.0, 0.5], advantages=[1.0, 1.0])]
    client: Any = SimpleNamespace()
    given = [*map(official_datum, data)]
    theirs = TrainingClient._get_custom_loss_forward_data(client, given, "cross_entropy")
    assert [*map(tensors, forward_data(data))] == [*map(tensors, theirs)]


async def test_surrogate_and_result_are_the_official_ones() -> None:
    given, loss_fn = [*map(official_datum, DATA)], cast("Any", smooth)
    theirs = TrainingClient._compute_custom_loss(given, loss_fn, official_output(outputs(LOGPROBS)))
    ours = run(smooth)
    assert [*map(tensors, ours.data)] == [*map(tensors, theirs.data)]
    assert (ours.loss, ours.metrics) == (theirs.loss_sum, theirs.metrics)

    metrics = {"loss:sum": 5.0, "other:mean": 1.0, "total": 9.0}
    backward = ForwardBackwardOutput("Record", outputs(LOGPROBS).loss_fn_outputs, metrics)

    async def result_async() -> Any:
        return official_output(backward)

    def runs(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(result_async=result_async)

    client: Any = SimpleNamespace(_run_fwd_bwd=runs)
    theirs_done = await TrainingClient._run_custom_backward(client, [], theirs)
    ours_done = finish(ours, backward)
    assert list(ours_done.metrics.items()) == list(theirs_done.metrics.items())
    assert ours_done.loss_fn_output_type == theirs_done.loss_fn_output_type
    assert ours_done.loss_fn_outputs == backward.loss_fn_outputs
    assert backward.metrics["loss:sum"] == 5.0


def test_a_server_that_names_no_loss_leaves_only_the_custom_one() -> None:
    found = finish(run(smooth), ForwardBackwardOutput("", [], {"loss": 1.0}))
    assert list(found.metrics) == ["loss", "total", "loss:sum"]
