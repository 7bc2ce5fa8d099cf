"""What the magics of one notebook share: the connection, the model in training, the handles."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from tinker_nb.client.background import say, settle
from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.gathering import gathered
from tinker_nb.client.loops import loop_thread, running_loop
from tinker_nb.client.sampling import SamplingClient
from tinker_nb.client.states import FutureSnapshot
from tinker_nb.client.training import TrainingClient
from tinker_nb.errors import ConfigurationError
from tinker_nb.notebook.board import Card, Pump, describe_result
from tinker_nb.notebook.connection import Connection
from tinker_nb.notebook.handles import Handle

T = TypeVar("T")
Describe = Callable[[FutureSnapshot], str]


class NotebookState:
    """The state behind the magics.

    Parameters
    ----------
    shell
        The IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.pump = Pump()
        self.handles: list[Handle[Any]] = []
        self._connection: Connection | None = None
        self._training: TrainingClient | None = None
        self._tuned: tuple[int, SamplingClient] | None = None
        self._base: SamplingClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # Where things run

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop for new work: the kernel's, or the library's where none runs."""
        return running_loop() or loop_thread().loop

    def cell_number(self) -> int:
        """Return the number of the cell that runs."""
        return int(self._shell.execution_count)

    @property
    def variables(self) -> dict[str, Any]:
        """The user's variables by name."""
        variables: dict[str, Any] = self._shell.user_ns
        return variables

    # The server and the model

    @property
    def connection(self) -> Connection:
        """The connection; `ConfigurationError` says how to make one."""
        if self._connection is None:
            raise ConfigurationError("There is no server yet.", advice="Run %tinker_connect first.")
        return self._connection

    def connect(self, connection: Connection) -> None:
        """Use a server from here on; the one before is left with `leaving`."""
        self._connection = connection
        self._training = self._tuned = self._base = None

    def leaving(self) -> Callable[[], None]:
        """Return what leaves the present server; it takes a moment, on whatever thread."""
        present = self._connection
        return present.close if present is not None else lambda: None

    @property
    def has_training(self) -> bool:
        """Whether there is a model in training."""
        return self._training is not None

    @property
    def training(self) -> TrainingClient:
        """The model in training; `ConfigurationError` says how to make one."""
        if self._training is None:
            raise ConfigurationError(
                "There is no model in training yet.", advice="Run %tinker_lora first."
            )
        return self._training

    @training.setter
    def training(self, training: TrainingClient) -> None:
        self._training, self._tuned = training, None

    def tuned_sampler(self) -> SamplingClient:
        """Return a sampler of the model in training, as it is after all calls made so far."""
        calls = self.training.calls_made
        if self._tuned is None or self._tuned[0] != calls:
            sampler = self.training.sampler(self.loop())
            self._tuned = (self.training.calls_made, sampler)
        return self._tuned[1]

    def base_sampler(self) -> SamplingClient:
        """Return a sampler of the base model."""
        if self._base is None:
            connection = self.connection
            self._base = connection.service.start_sampler(None, connection.base_model)
        return self._base

    # Handles and their cards

    def launch(
        self,
        future: TinkerFuture[T],
        *,
        title: str | None = None,
        describe: Describe = describe_result,
        only_awaited: bool = False,
        stop: Callable[[], object] | None = None,
        client: Any = None,
    ) -> Handle[T]:
        """Show the card of a future and return its handle."""
        handle = Handle(
            self, future, self.cell_number(), only_awaited=only_awaited, stop=stop, client=client
        )
        self.handles.append(handle)
        self._show_card(handle, [future], title, describe)
        return handle

    def launch_batch(
        self, futures: Sequence[TinkerFuture[T]], *, title: str, describe: Describe
    ) -> Handle[list[T]]:
        """Show one card for many futures and return one handle of all their results."""

        def stop() -> None:
            for future in futures:
                future.cancel()

        handle = Handle(self, gathered(futures), self.cell_number(), stop=stop)
        self.handles.append(handle)
        self._show_card(handle, futures, title, describe)
        return handle

    def run_here(
        self, kind: str, work: Callable[[TinkerFuture[T]], Coroutine[Any, Any, T]]
    ) -> tuple[TinkerFuture[T], asyncio.Task[None]]:
        """Run a coroutine in the background on the kernel's loop; returns its future and task."""
        future: TinkerFuture[T] = TinkerFuture(kind, is_local=True)
        task = asyncio.get_running_loop().create_task(settle(future, work(future)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return future, task

    def run_aside(self, kind: str, work: Coroutine[Any, Any, T], note: str) -> TinkerFuture[T]:
        """Run a coroutine in the background on the loop thread; the note says what it does."""
        future: TinkerFuture[T] = TinkerFuture(kind, is_local=True)
        say(future, note)
        loop_thread().submit(settle(future, work))
        return future

    def _show_card(
        self,
        handle: Handle[Any],
        futures: Sequence[TinkerFuture[Any]],
        title: str | None,
        describe: Describe,
    ) -> None:
        by_key = {future.key: future for future in futures}

        def cancel(key: int) -> object:
            return handle.cancel() if len(by_key) == 1 else by_key[key].cancel()

        snapshots = [future.snapshot for future in futures]
        card = Card(snapshots, self.pump, title=title, describe=describe, on_cancel=cancel)
        card.show()
        for future in futures:
            future.subscribe(card.update)
        # What happened between the picture on the card and the subscription.
        card.update(*(future.snapshot for future in futures))

    def show_again(self, handle: Handle[Any]) -> None:
        """Show a card of a handle in the cell that runs."""
        self._show_card(handle, [handle.future], None, describe_result)

    # Ending

    def close(self) -> None:
        """Stop everything: background work, the session, an embedded server, the pump."""
        for task in list(self._tasks):
            with contextlib.suppress(RuntimeError):  # its loop is closed already
                task.cancel()
        self.leaving()()
        self.pump.close()
