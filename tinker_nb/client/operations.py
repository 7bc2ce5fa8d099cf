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
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

from tinker_nb.client.kinds import Ask, Kind
from tinker_nb.client.loops import loop_thread, wait_blocking
from tinker_nb.client.sealing import sealing

if TYPE_CHECKING:
    from tinker_nb.client.futures import TinkerFuture
    from tinker_nb.client.server import Greeting

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")


#: Gives the next number of a call: ``seq_id``, ``model_seq_id``.
Numbers = Callable[[], int]


@dataclass(frozen=True)
class Ready:
    """In the place of a request: a result that is known without asking the server."""

    result: Any


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call that is answered with a future.

    Parameters
    ----------
    kind
        What sort of call it is.
    asks
        The requests it is made of, from the address (the id of the model, sampling session or
        session it is for), the numbers there, and what the server said of itself. It may have to
        wait for something first, on whatever loop it is called; numbers are taken only after that.
    read
        Result from the results of the requests.
    operation
        The client's method, where one kind of call serves several.
    """

    kind: Kind
    asks: Callable[[str, Numbers, Greeting], Awaitable[list[Ask | Ready]]]
    read: Callable[[list[Any]], T]
    operation: str = ""

    @property
    def name(self) -> str:
        """The client's method, for messages and the table of capabilities."""
        return self.operation or self.kind.operation

    def begin(self, client: Face, loop: asyncio.AbstractEventLoop) -> TinkerFuture[T]:
        """Start the call on a loop."""
        return client._start(self, loop)


class Startable(Protocol[T]):
    """What an operation's definition returns: a call, or several that belong together."""

    def begin(self, client: Any, loop: asyncio.AbstractEventLoop) -> TinkerFuture[T]:
        """Start it on a loop."""
        ...


class Face(Protocol):
    """A client whose calls can be started on a loop."""

    def _start(self, call: Call[T], loop: asyncio.AbstractEventLoop) -> TinkerFuture[T]: ...


C = TypeVar("C", bound=Callable[..., Any])


def blocking(
    define: Callable[Concatenate[A, P], Startable[T]],
) -> Callable[Concatenate[A, P], TinkerFuture[T]]:
    """Return the form that starts the call on the library's loop thread and gives its future."""

    def form(self: A, /, *args: P.args, **kwargs: P.kwargs) -> TinkerFuture[T]:
        return define(self, *args, **kwargs).begin(self, loop_thread().loop)

    return _dressed(form, define, "", "TinkerFuture[{}]")


def asynchronous(
    define: Callable[Concatenate[A, P], Startable[T]],
) -> Callable[Concatenate[A, P], Coroutine[Any, Any, TinkerFuture[T]]]:
    """Return the form that starts the call on the running loop; awaiting it gives the future."""

    async def form(self: A, /, *args: P.args, **kwargs: P.kwargs) -> TinkerFuture[T]:
        return define(self, *args, **kwargs).begin(self, asyncio.get_running_loop())

    return _dressed(form, define, "_async", "TinkerFuture[{}]")


def asynchronous_value(
    define: Callable[Concatenate[A, P], Startable[T]],
) -> Callable[Concatenate[A, P], Coroutine[Any, Any, T]]:
    """Return the form that starts the call on the running loop; awaiting it gives the result."""

    async def form(self: A, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await define(self, *args, **kwargs).begin(self, asyncio.get_running_loop())

    return _dressed(form, define, "_async", "{}")


def blocking_of(
    define: Callable[Concatenate[A, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[A, P], T]:
    """Return the form that runs an async method on the loop thread and waits for its value."""

    def form(self: A, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return wait_blocking(loop_thread().submit(define(self, *args, **kwargs)))

    return _dressed(form, define, "", "{}")


def future_of(
    define: Callable[Concatenate[A, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[A, P], TinkerFuture[T]]:
    """Return the form that runs an async method on the loop thread and gives its future."""

    def form(self: A, /, *args: P.args, **kwargs: P.kwargs) -> TinkerFuture[T]:
        return started(_kind_of(define), define(self, *args, **kwargs))

    return _dressed(form, define, "", "TinkerFuture[{}]")


def ended_future_of(
    define: Callable[Concatenate[A, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[A, P], TinkerFuture[T]]:
    """Return the form that runs an async method on the loop thread, waits, and gives its future.

    For what must be over when the call returns, though the official SDK returns a future.
    """

    def form(self: A, /, *args: P.args, **kwargs: P.kwargs) -> TinkerFuture[T]:
        future = started(_kind_of(define), define(self, *args, **kwargs))
        future.result()
        return future

    return _dressed(form, define, "", "TinkerFuture[{}]")


def started(kind: str, coroutine: Coroutine[Any, Any, T]) -> TinkerFuture[T]:
    """Run a coroutine on the loop thread; its outcome settles the future returned."""
    from tinker_nb.client.background import begun

    return begun(kind, coroutine)


def _kind_of(define: Any) -> str:
    """Return a method's name in the protocol's style: ``list_sessions_async``, ListSessions."""
    words = str(define.__name__).removesuffix("_async").split("_")
    return "".join(word.capitalize() for word in words)


def _dressed(form: C, define: Any, suffix: str, returns: str) -> C:
    """Give a form the definition's name, docstring and arguments, and its own return type."""
    name = define.__name__.removeprefix("_").removesuffix("_async") + suffix
    signature = inspect.signature(define)
    inner = _result_type(str(signature.return_annotation))
    form.__signature__ = signature  # type: ignore[attr-defined]  # what is secret shows in it
    dressed: Any = functools.update_wrapper(sealing(form), define)
    del dressed.__wrapped__  # help() would show the definition's return type
    dressed.__name__ = name
    dressed.__qualname__ = define.__qualname__.rpartition(".")[0] + "." + name
    dressed.__signature__ = signature.replace(return_annotation=returns.format(inner))
    dressed.__annotations__ = {**define.__annotations__, "return": returns.format(inner)}
    return cast("C", dressed)


def _result_type(annotation: str) -> str:
    """Return what a definition's call gives in the end: ``T`` of ``Call[T]`` and the like."""
    if annotation.startswith("Call["):
        return annotation.removeprefix("Call[").removesuffix("]")
    if annotation.startswith("FirstAndThen["):
        return annotation.removesuffix("]").rpartition(", ")[2]
    return annotation
