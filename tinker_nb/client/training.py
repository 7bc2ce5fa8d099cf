"""TrainingClient: one LoRA model in training."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tinker_nb.client import calls
from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.operations import Call, asynchronous, blocking, blocking_of
from tinker_nb.client.order import SubmissionOrder
from tinker_nb.client.sampling import SamplingClient
from tinker_nb.client.work import Work
from tinker_nb.errors import FutureCancelledError, InvalidInputError, TinkerError
from tinker_nb.wire.data import Datum
from tinker_nb.wire.losses import LossConfig, check_data, loss_settings
from tinker_nb.wire.params import AdamParams
from tinker_nb.wire.paths import check_name
from tinker_nb.wire.responses import GetInfoResponse
from tinker_nb.wire.results import (
    CreateModelResponse,
    ForwardBackwardOutput,
    OptimStepResponse,
    SaveWeightsForSamplerResponse,
)

if TYPE_CHECKING:
    from tinker_nb.client.service import ServiceClient

T = TypeVar("T")


class TrainingClient:
    """A LoRA model in training; made by `ServiceClient`.

    It can be used at once: calls made while the model is still being created wait for it. Calls
    reach the server in the order in which they were made, over both forms and all threads.

    Examples
    --------
    >>> future = training.forward_backward(data, "cross_entropy")  # blocking form: .result()
    >>> output = future.result()
    >>> future = await training.forward_backward_async(data, "cross_entropy")
    >>> output = await future
    """

    def __init__(self, service: ServiceClient, create: Call[CreateModelResponse]) -> None:
        self._service = service
        self._create = create
        self._order = SubmissionOrder()
        self.created: TinkerFuture[CreateModelResponse] = TinkerFuture(create.kind)

    def __repr__(self) -> str:
        known = self.created.snapshot.model_id or self.created.state.value
        return f"<TrainingClient {known}>"

    @property
    def calls_made(self) -> int:
        """How many calls were made so far, the creation included."""
        return self._order.taken

    @property
    def model_id(self) -> str:
        """The model's id; waits until the model was created."""
        return self.created.result().model_id

    def result(self, timeout: float | None = None) -> TrainingClient:
        """Wait until the model was created and return this client."""
        self.created.result(timeout)
        return self

    def __await__(self) -> Generator[Any, None, TrainingClient]:
        yield from self.created.__await__()
        return self

    # The operations, each defined once

    def _forward_backward(
        self, data: Sequence[Datum], loss_fn: str, loss_fn_config: LossConfig | None = None
    ) -> Call[ForwardBackwardOutput]:
        """Compute the loss and add its gradients to those waiting for `optim_step`.

        Parameters
        ----------
        data
            Examples; see `Datum` for how tokens and targets line up.
        loss_fn
            ``cross_entropy``, ``importance_sampling`` or ``ppo``; all are sums over tokens.
        loss_fn_config
            The loss's settings, such as ``clip_low_threshold``.

        Returns
        -------
        TinkerFuture[ForwardBackwardOutput]
            Log-probabilities per datum, and metrics such as ``loss:sum``.

        Raises
        ------
        InvalidInputError
            The data do not fit the loss; nothing was sent.

        Examples
        --------
        >>> output = training.forward_backward(data, "cross_entropy").result()
        >>> output = await (await training.forward_backward_async(data, "cross_entropy"))
        """
        check_data(data, loss_fn, loss_fn_config)
        source = calls.at_hand(list(data))
        return calls.forward_backward(source, loss_fn, loss_fn_config, forward_only=False)

    def _forward(
        self, data: Sequence[Datum], loss_fn: str, loss_fn_config: LossConfig | None = None
    ) -> Call[ForwardBackwardOutput]:
        """Compute the loss without gradients.

        Takes and gives what `forward_backward` does.

        Examples
        --------
        >>> output = training.forward(data, "cross_entropy").result()
        >>> output = await (await training.forward_async(data, "cross_entropy"))
        """
        check_data(data, loss_fn, loss_fn_config)
        source = calls.at_hand(list(data))
        return calls.forward_backward(source, loss_fn, loss_fn_config, forward_only=True)

    def _optim_step(self, adam_params: AdamParams | None = None) -> Call[OptimStepResponse]:
        """Apply the waiting gradients in one AdamW step, and clear them.

        Parameters
        ----------
        adam_params
            The step's parameters; the protocol's defaults when not given.

        Returns
        -------
        TinkerFuture[OptimStepResponse]
            Metrics, as the server names them.

        Examples
        --------
        >>> training.optim_step(AdamParams(learning_rate=1e-3)).result()
        >>> await (await training.optim_step_async(AdamParams(learning_rate=1e-3)))
        """
        return calls.optim_step(adam_params or AdamParams())

    def _save_weights_for_sampler(
        self,
        name: str,
        ttl_seconds: int | None = None,
        user_metadata: dict[str, str] | None = None,
    ) -> Call[SaveWeightsForSamplerResponse]:
        """Save the weights under a name, to sample from.

        Parameters
        ----------
        name
            Letters, digits, dot, dash and underscore.
        ttl_seconds
            How long the server keeps them; for ever when not given.
        user_metadata
            Kept beside them.

        Returns
        -------
        TinkerFuture[SaveWeightsForSamplerResponse]
            ``path`` is ``tinker://RUN/sampler_weights/NAME``.

        Examples
        --------
        >>> path = training.save_weights_for_sampler("step-10").result().path
        >>> path = (await (await training.save_weights_for_sampler_async("step-10"))).path
        """
        return calls.save_weights_for_sampler(
            name=check_name(name), ttl_seconds=ttl_seconds, user_metadata=user_metadata
        )

    forward_backward = blocking(_forward_backward)
    forward_backward_async = asynchronous(_forward_backward)
    forward = blocking(_forward)
    forward_async = asynchronous(_forward)
    optim_step = blocking(_optim_step)
    optim_step_async = asynchronous(_optim_step)
    save_weights_for_sampler = blocking(_save_weights_for_sampler)
    save_weights_for_sampler_async = asynchronous(_save_weights_for_sampler)

    # Sampling from what was learnt so far

    async def save_weights_and_get_sampling_client_async(
        self, name: str | None = None
    ) -> SamplingClient:
        """Return a sampler of the weights as they are after all calls made so far.

        It can be used at once: its calls wait until the weights were kept.

        Parameters
        ----------
        name
            Ignored; the official SDK has it.

        Examples
        --------
        >>> sampler = training.save_weights_and_get_sampling_client()
        >>> sampler = await training.save_weights_and_get_sampling_client_async()
        """
        return await self.sampler(asyncio.get_running_loop())

    save_weights_and_get_sampling_client = blocking_of(save_weights_and_get_sampling_client_async)

    def sampler(self, loop: asyncio.AbstractEventLoop) -> SamplingClient:
        """Start to keep the present weights on a loop, and return their sampler at once."""
        number = next(self._service.session.sampling_seq_ids)
        call = calls.save_weights_for_sampler(sampling_session_seq_id=number)
        saved = self._start(call, loop)
        return SamplingClient(self._service, saved)

    # What it is

    async def get_info_async(self) -> GetInfoResponse:
        """Return what the server says of the model."""
        created = await self.created
        return await self._service.model_info(created.model_id)

    get_info = blocking_of(get_info_async)

    # How calls start

    def start_creation(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send the call that makes the model; done once, by `ServiceClient`."""
        number = next(self._service.session.model_seq_ids)
        work = Work(
            self._create,
            self.created,
            self._service.transport,
            self._service.session,
            number,
            self._order.take(),
            first=True,
        )
        work.start(loop)

    def start_forward_backward(
        self,
        data: calls.Source[Sequence[Datum]],
        loss_fn: str,
        loss_fn_config: LossConfig | None,
        loop: asyncio.AbstractEventLoop,
    ) -> TinkerFuture[ForwardBackwardOutput]:
        """Start a forward_backward whose data may still be being prepared.

        The call takes its place in the order now; the data are asked for when its turn has come.
        """
        loss_settings(loss_fn, loss_fn_config)

        async def checked() -> Sequence[Datum]:
            ready = await data()
            check_data(ready, loss_fn, loss_fn_config)
            return ready

        call = calls.forward_backward(checked, loss_fn, loss_fn_config, forward_only=False)
        return self._start(call, loop)

    def start_optim_step(
        self, adam_params: AdamParams, loop: asyncio.AbstractEventLoop
    ) -> TinkerFuture[OptimStepResponse]:
        """Start an optim_step on a loop and return its future at once."""
        return self._start(self._optim_step(adam_params), loop)

    def _start(self, call: Call[T], loop: asyncio.AbstractEventLoop) -> TinkerFuture[T]:
        future: TinkerFuture[T] = TinkerFuture(call.kind, model_id=self.created.snapshot.model_id)
        ticket = self._order.take()
        address = _CreatedModel(self.created)
        work = Work(call, future, self._service.transport, address, ticket.number, ticket)
        work.start(loop)
        return future


class _CreatedModel:
    """The address of a model that may still be being created."""

    def __init__(self, created: TinkerFuture[CreateModelResponse]) -> None:
        self._created = created

    async def resolve(self) -> str:
        """Return the model's id."""
        try:
            return (await self._created).model_id
        except FutureCancelledError as error:
            raise FutureCancelledError("The model's creation was cancelled.") from error
        except TinkerError as error:
            raise InvalidInputError(
                f"There is no model, for its creation failed: {error.message}",
                fault=error.fault,
                advice=error.advice,
            ) from error
