"""Secrets among the arguments of a call, kept out of what a traceback may show.

A notebook can show the variables of every frame an error went through. So a secret given as plain
text is shut into a `SecretStr` in the outermost frame of ours, which lets go of it at once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from pydantic import SecretStr

C = TypeVar("C", bound=Callable[..., Any])
_HEADERS = "default_headers_overrides"  # one of them may be a pass through a gate
SECRETS = frozenset({"api_key", "weights_access_token", _HEADERS})


def sealing(function: C) -> C:
    """Return a function that gets its secrets shut; the same one when it takes none."""
    names = tuple(inspect.signature(function).parameters)
    if not SECRETS & set(names):
        return function
    form: Any = _asynchronous if inspect.iscoroutinefunction(function) else _plain
    return cast("C", functools.wraps(function)(form(function, names)))


def _plain(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    def form(*args: Any, **kwargs: Any) -> Any:
        shut = _shut(names, args, kwargs)
        del args, kwargs
        return function(*shut[0], **shut[1])

    return form


def _asynchronous(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    async def form(*args: Any, **kwargs: Any) -> Any:
        shut = _shut(names, args, kwargs)
        del args, kwargs
        return await function(*shut[0], **shut[1])

    return form


def _shut(
    names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    placed = zip((*names, *[""] * len(args)), args, strict=False)
    return (
        [_as_secret(name, value) for name, value in placed],
        {name: _as_secret(name, value) for name, value in kwargs.items()},
    )


def _as_secret(name: str, value: Any) -> Any:
    if name == _HEADERS and isinstance(value, Mapping):
        return {key: _as_secret("api_key", each) for key, each in value.items()}
    return SecretStr(value) if name in SECRETS and isinstance(value, str) and value else value
