"""Losses that are traced once: run on this side, or sent to the server as data.

A traced loss is a list of torch operations. Only that list travels, no code and no pickle, and
nothing that comes from a server is ever run here.
"""

from __future__ import annotations

import builtins
import hashlib
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tinker_nb.client.custom_loss import check_torch
from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.data import Datum
from tinker_nb.wire.requests import CustomLossGraph, CustomLossInput, CustomLossNode

if TYPE_CHECKING:
    import torch.fx

#: ``(logprobs, *inputs) -> (loss, metrics)`` of one datum, all of them tensors.
PerDatumLossFn: TypeAlias = Callable[..., tuple[Any, Mapping[str, Any]]]
Rank: TypeAlias = Literal[0, 1, 2]

_MOST_INPUTS = 16
_INPUT = re.compile(r"[a-z_][a-z0-9_]{0,63}")
_METRIC = re.compile(r"custom/[a-z0-9_./-]{1,64}:(?:sum|mean)")
_MODULES = ("torch", "math", "operator", "_operator")
_LEAVING_TORCH = ("item", "numpy", "tolist")
_TORCH_VALUES = ("dtype", "device", "layout", "memory_format")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, eq=False)
class LossHandle:
    """A traced loss, for `TrainingClient.forward_backward_custom`.

    Parameters
    ----------
    name
        What its function was called.
    inputs
        ``logprobs``, then the ``loss_fn_inputs`` that it reads, each with its number of dimensions.
    session_id
        The session it belongs to; clients of others refuse it.
    graph
        What is run; the function itself is not called any more.
    loss_id
        The server's id of it; None where it is run on this side.
    """

    name: str
    inputs: tuple[CustomLossInput, ...]
    session_id: str
    graph: torch.fx.GraphModule = field(repr=False)
    loss_id: str | None = None

    @property
    def key(self) -> str:
        """What tells it from other losses of the session."""
        text = f"{self.name}\n{self.inputs!r}\n{self.graph.code}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def input_names(self) -> tuple[str, ...]:
        """The ``loss_fn_inputs`` that it reads, in their order."""
        return tuple(each.name for each in self.inputs[1:])

    def __call__(self, data: Sequence[Datum], logprobs: Sequence[Any]) -> tuple[Any, Any]:
        """Return the sum of the losses of all datums, and their metrics together."""
        losses: list[Any] = []
        metrics: list[Mapping[str, Any]] = []
        for datum, own in zip(data, logprobs, strict=True):
            others = [datum.loss_fn_inputs[name].to_torch() for name in self.input_names]
            loss, said = self.graph(own, *others)
            if loss.ndim:
                raise ValueError(f"it gave a loss of the shape {list(loss.shape)}, not a number")
            losses.append(loss)
            metrics.append(said)
        return sum(losses), _together(metrics)


def _together(metrics: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for name in metrics[0]:
        values = [_number(each[name]) for each in metrics]
        totals[name] = sum(values) / (len(values) if name.endswith(":mean") else 1)
    return totals


def _number(value: Any) -> float:
    return float(value.item() if hasattr(value, "item") else value)


def check_inputs(handle: LossHandle, data: Sequence[Datum]) -> None:
    """Refuse data that lack what a loss reads, or have it with other dimensions."""
    if not data:
        raise InvalidInputError("There is no data: give at least one datum.")
    for index, datum in enumerate(data):
        for each in handle.inputs:
            name = "target_tokens" if each.name == "logprobs" else each.name
            tensor = datum.loss_fn_inputs.get(name)
            if tensor is None:
                raise refusal(handle.name, f"reads {name!r}, which datum {index} lacks")
            rank = 1 if tensor.shape is None else len(tensor.shape)
            if rank != each.rank:
                wrong = f"{name!r} of datum {index} has {rank} dimensions"
                raise refusal(handle.name, f"takes {each.name!r} with {each.rank}, but {wrong}")


def refusal(name: str, why: str) -> InvalidInputError:
    """Return the error of a loss that breaks the rules."""
    return InvalidInputError(f"The custom loss {name!r} {why}.")


# Tracing -----------------------------------------------------------------------------------------


def traced(fn: PerDatumLossFn, input_ranks: Mapping[str, Rank]) -> LossHandle:
    """Trace a function into a loss of no session yet.

    Raises
    ------
    InvalidInputError
        It cannot be traced, does more than torch and math can, or its arguments are not as they
        should be.
    ConfigurationError
        There is no torch.
    """
    check_torch()
    import torch.fx

    name = getattr(fn, "__name__", type(fn).__name__)
    inputs = _inputs(name, fn, input_ranks)
    try:
        graph = torch.fx.symbolic_trace(fn)
    except Exception as error:
        what = f"cannot be traced: {error}. It may not branch on values, or leave torch and math"
        raise refusal(name, what) from error
    for node in graph.graph.nodes:
        _check_node(name, node)
    return LossHandle(name, inputs, "", graph)


def _inputs(
    name: str, fn: PerDatumLossFn, input_ranks: Mapping[str, Rank]
) -> tuple[CustomLossInput, ...]:
    parameters = list(inspect.signature(fn).parameters.values())
    names = [each.name for each in parameters]
    if names[:1] != ["logprobs"]:
        raise refusal(name, "must take logprobs first, then the loss_fn_inputs that it reads")
    if len(names) > _MOST_INPUTS:
        raise refusal(name, f"takes {len(names)} arguments; {_MOST_INPUTS} is the most")
    for each in parameters:
        if each.kind not in _POSITIONAL or each.default is not each.empty:
            raise refusal(name, f"must take {each.name!r} by place and without a default")
        if not _INPUT.fullmatch(each.name):
            raise refusal(name, f"takes {each.name!r}, but a name has small letters and digits")
    if set(input_ranks) != set(names) or not set(input_ranks.values()) <= {0, 1, 2}:
        raise refusal(name, f"needs input_ranks of 0, 1 or 2 for {', '.join(names)}")
    if input_ranks["logprobs"] == 0:
        raise refusal(name, "gets logprobs per token, so their rank is 1 or 2")
    return tuple(CustomLossInput(name=each, rank=input_ranks[each]) for each in names)


def _check_node(name: str, node: torch.fx.Node) -> None:
    if node.op == "call_function":
        _check_function(name, node.target)
    elif node.op == "call_method":
        _check_method(name, str(node.target))
    elif node.op == "call_module":
        raise refusal(name, f"calls the module {node.target!r}; use torch.nn.functional instead")
    elif node.op == "get_attr":
        raise refusal(name, "holds a tensor from outside; it may read its arguments only")
    elif node.op == "output":
        _check_output(name, node.args[0])


def _check_function(name: str, function: Any) -> None:
    module = str(getattr(function, "__module__", None) or "")
    if function is not builtins.getattr and module.partition(".")[0] not in _MODULES:
        what = f"{module}.{getattr(function, '__name__', function)}".removeprefix(".")
        raise refusal(name, f"calls {what}; it may call torch and math only")


def _check_method(name: str, method: str) -> None:
    import torch

    if not hasattr(torch.Tensor, method):
        raise refusal(name, f"calls {method}(), which tensors do not have")
    if method == "backward":
        raise refusal(name, "calls backward(); return the loss instead")
    if method in _LEAVING_TORCH:
        raise refusal(name, f"calls {method}(), which leaves torch; metrics may be tensors too")


def _check_output(name: str, output: Any) -> None:
    import torch.fx

    if not isinstance(output, tuple | list) or len(output) != 2:
        raise refusal(name, "must return (loss, metrics)")
    loss, metrics = output
    if not isinstance(loss, torch.fx.Node):
        raise refusal(name, f"must return a loss that depends on its arguments, not {loss!r}")
    if not isinstance(metrics, Mapping):
        raise refusal(name, "must return its metrics as a dict")
    for key, value in metrics.items():
        if not isinstance(key, str) or not _METRIC.fullmatch(key):
            raise refusal(name, f"names a metric {key!r}; it must be custom/NAME:sum or :mean")
        if not isinstance(value, torch.fx.Node):
            raise refusal(name, f"gives the metric {key!r} as {value!r}, not as a tensor")


# As data -----------------------------------------------------------------------------------------


def encoded_graph(handle: LossHandle) -> CustomLossGraph:
    """Return what a loss does as plain data, one entry per operation.

    Raises
    ------
    InvalidInputError
        An operation has an argument that cannot travel.
    """
    nodes = [
        CustomLossNode(
            op=node.op,
            name=node.name,
            target=_target(node),
            args=[_encoded(handle.name, each) for each in node.args],
            kwargs={key: _encoded(handle.name, each) for key, each in node.kwargs.items()},
        )
        for node in handle.graph.graph.nodes
    ]
    return CustomLossGraph(nodes=nodes)


def _target(node: torch.fx.Node) -> str:
    if not callable(node.target):
        return str(node.target)
    # The names that servers know; torch has no public function that gives them.
    from torch.fx.node import _get_qualified_name

    name = _get_qualified_name(node.target)
    return name.removeprefix("_") if name.startswith("_operator.") else name


def _encoded(name: str, value: Any) -> Any:
    import torch.fx

    def each(values: Any) -> list[Any]:
        return [_encoded(name, value) for value in values]

    match value:
        case torch.fx.Node():
            return {"ref": value.name}
        case float() if not math.isfinite(value):
            return {"float": str(value)}
        case None | bool() | int() | float() | str():
            return value
        case list():
            return each(value)
        case tuple():
            return {"tuple": each(value)}
        case dict() if all(isinstance(key, str) for key in value):
            return {"dict": dict(zip(value, each(value.values()), strict=True))}
        case slice():
            return {"slice": each((value.start, value.stop, value.step))}
    if value is Ellipsis:
        return {"ellipsis": True}
    kind = type(value).__name__
    if type(value).__module__ != "torch" or kind not in _TORCH_VALUES:
        raise refusal(name, f"passes a {kind}, which cannot travel to the server")
    return {kind: str(value).removeprefix("torch.")}
