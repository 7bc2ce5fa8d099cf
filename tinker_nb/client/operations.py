"""Every operation once: what to send, how to read the result; both forms derive from it.

An operation that is answered with a future is written one time, as a function that checks its
arguments and returns a `Call`, a plain value. `blocking` and `asynchronous` turn it into the two
forms a user calls, with the arguments and the docstring of that one definition. An operation that
is answered at once is written as its async form, and `blocking_of` makes the other.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from tinker_nb.client.exchange import Payload, Reply
from tinker_nb.client.loops import loop_thread, wait_blocking

if TYPE_CHECKING:
    from tinker_nb.client.futures import TinkerFuture

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")


@dataclass(frozen=True)
class Accepted:
    """What the server said when it took a request."""

    request_id: str
    model_id: str | None = None
    sample_sequence_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call that is answered with a future.

    Parameters
    ----------
    kind
        Its name in the protocol (header ``X-Tinker-Request-Type``), such as ``ForwardBackward``.
    path
        Where it is sent.
    encode
        Body from the address (the id of the model, sampling session or session it is for) and
        the number of the call there (``seq_id``, ``model_seq_id``). It may have to wait for
        something first, on whatever loop it is called.
    decode
        Result from the final reply and from what was said on acceptance.
    binary
        Whether the result may be protobuf.
    """

    kind: str
    path: str
    encode: Callable[[str, int], Payload | Awaitable[Payload]]
    decode: Callable[[Reply, Accepted], T]
    binary: bool = False


class Face(Protocol):
    """A client whose calls can be started on a loop."""

    def _start(self, call: Call[T], loop: asyncio.AbstractEventLoop) -> TinkerFuture[T]: ...


F = TypeVar("F", bound=Face)
C = TypeVar("C", bound=Callable[..., Any])


def blocking(
    define: Callable[Concatenate[F, P], Call[T]],
) -> Callable[Concatenate[F, P], TinkerFuture[T]]:
    """Return the form that starts the call on the library's loop thread and gives its future."""

    def form(self: F, /, *args: P.args, **kwargs: P.kwargs) -> TinkerFuture[T]:
        return self._start(define(self, *args, **kwargs), loop_thread().loop)

    return _dressed(form, define, "", "TinkerFuture[{}]")


def asynchronous(
    define: Callable[Concatenate[F, P], Call[T]],
) -> Callable[Concatenate[F, P], Coroutine[Any, Any, TinkerFuture[T]]]:
    """Return the form that starts the call on the running loop; awaiting it gives the future."""

    async def form(self: F, /, *args: P.args, **kwargs: P.kwargs) -> TinkerFuture[T]:
        return self._start(define(self, *args, **kwargs), asyncio.get_running_loop())

    return _dressed(form, define, "_async", "TinkerFuture[{}]")


def asynchronous_value(
    define: Callable[Concatenate[F, P], Call[T]],
) -> Callable[Concatenate[F, P], Coroutine[Any, Any, T]]:
    """Return the form that starts the call on the running loop; awaiting it gives the result."""

    async def form(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._start(define(self, *args, **kwargs), asyncio.get_running_loop())

    return _dressed(form, define, "_async", "{}")


def blocking_of(
    define: Callable[Concatenate[A, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[A, P], T]:
    """Return the form that runs an async method on the loop thread and waits for its value."""

    def form(self: A, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return wait_blocking(loop_thread().submit(define(self, *args, **kwargs)))

    return _dressed(form, define, "", "{}")


def _dressed(form: C, define: Any, suffix: str, returns: str) -> C:
    """Give a form the definition's name, docstring and arguments, and its own return type."""
    name = define.__name__.removeprefix("_").removesuffix("_async") + suffix
    signature = inspect.signature(define)
    inner = str(signature.return_annotation).removeprefix("Call[").removesuffix("]")
    dressed: Any = functools.update_wrapper(form, define)
    del dressed.__wrapped__  # help() would show the definition's return type
    dressed.__name__ = name
    dressed.__qualname__ = define.__qualname__.rpartition(".")[0] + "." + name
    dressed.__signature__ = signature.replace(return_annotation=returns.format(inner))
    dressed.__annotations__ = {**define.__annotations__, "return": returns.format(inner)}
    return form
