"""Data sets of pandas and of Hugging Face to rows, without importing either.

Whoever has such an object has imported its package; it is known by the name of its class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from tinker_nb.data.rows import Shape, find_shape
from tinker_nb.errors import InvalidInputError

Kind = Literal["DataFrame", "Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict"]
_HOMES = {"DataFrame": "pandas"}


def kind_of(value: Any) -> Kind | None:
    """Return what kind of data set a value is; None for everything else."""
    families = {(each.__module__.partition(".")[0], each.__name__) for each in type(value).__mro__}
    kinds: tuple[Kind, ...] = get_args(Kind)
    return next((kind for kind in kinds if (_HOMES.get(kind, "datasets"), kind) in families), None)


def read_frame(value: Any, kind: Kind) -> tuple[Shape, Iterable[Mapping[str, Any]]]:
    """Return what a data set's columns mean, and its rows with those columns only.

    Raises
    ------
    InvalidInputError
        Its columns make no conversation, or it is not one table that is there as a whole.
    """
    if kind in ("DatasetDict", "IterableDatasetDict"):
        raise InvalidInputError(
            f"A {kind} holds several data sets; choose one of them.",
            advice=f"Its splits: {', '.join(map(repr, value)) or 'none'}.",
        )
    if kind == "IterableDataset":
        raise InvalidInputError(
            "A streamed data set has no end that is known; take a slice of it.",
            advice="For example: list(dataset.take(1000)).",
        )
    return _pandas_rows(value) if kind == "DataFrame" else _dataset_rows(value)


def _pandas_rows(frame: Any) -> tuple[Shape, Iterable[Mapping[str, Any]]]:
    shape = _shape(frame.columns)
    return shape, frame[_there(shape, frame.columns)].to_dict("records")


def _dataset_rows(dataset: Any) -> tuple[Shape, Iterable[Mapping[str, Any]]]:
    shape = _shape(dataset.column_names)
    # Other columns may hold pictures; without a format rows are plain Python.
    plain = dataset.with_format(None).select_columns(_there(shape, dataset.column_names))
    return shape, plain


def _there(shape: Shape, columns: Iterable[Any]) -> list[str]:
    names = set(columns)
    return [name for name in shape.columns if name in names]


def _shape(columns: Iterable[Any]) -> Shape:
    try:
        return find_shape([str(column) for column in columns])
    except InvalidInputError as error:
        raise InvalidInputError(f"The data set: {error.message}") from error
