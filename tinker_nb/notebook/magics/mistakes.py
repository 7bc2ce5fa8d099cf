"""A user's mistake is one clear line; anything else keeps its traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from IPython.core.error import UsageError
from pydantic import ValidationError

from tinker_nb.errors import ConfigurationError, InvalidInputError
from tinker_nb.wire.base import WireModel
from tinker_nb.wire.jsonform import first_problem

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=WireModel)


def plain_mistakes(magic: Callable[P, T]) -> Callable[P, T]:
    """Show refused input as one line, as IPython does for usage errors."""

    @functools.wraps(magic)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return magic(*args, **kwargs)
        except (ConfigurationError, InvalidInputError) as error:
            raise UsageError(str(error)) from error

    return guarded


def checked(model: type[M], **fields: Any) -> M:
    """Return a model of the fields; a value out of range is one clear sentence."""
    try:
        return model(**fields)
    except ValidationError as error:
        raise InvalidInputError(first_problem(error)) from error
