"""SamplingClient: draws from the base model, a checkpoint, or weights in training."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tinker_nb.client import calls
from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.operations import Call, asynchronous_value, blocking
from tinker_nb.client.work import Work
from tinker_nb.errors import InvalidInputError, TinkerError
from tinker_nb.wire.data import ModelInput
from tinker_nb.wire.params import SamplingParams
from tinker_nb.wire.results import SampleResponse

if TYPE_CHECKING:
    from tinker_nb.client.service import ServiceClient

T = TypeVar("T")


class HasSession(Protocol):
    """An answer that names a sampling session."""

    @property
    def sampling_session_id(self) -> str | None:
        """Its id."""
        ...


class SamplingClient:
    """Draws text from one state of a model; made by `ServiceClient` or `TrainingClient`.

    It can be used at once: calls wait until its sampling session is there.

    Examples
    --------
    >>> answer = sampler.sample(prompt, 1, SamplingParams(max_tokens=20)).result()
    >>> answer = await sampler.sample_async(prompt, 1, SamplingParams(max_tokens=20))
    """

    def __init__(self, service: ServiceClient, session: TinkerFuture[Any]) -> None:
        self._service = service
        self.created = session
        self._seq_ids = itertools.count()

    def __repr__(self) -> str:
        return f"<SamplingClient {self.created.state.value}>"

    def result(self, timeout: float | None = None) -> SamplingClient:
        """Wait until the sampling session is there and return this client."""
        self.created.result(timeout)
        return self

    def __await__(self) -> Generator[Any, None, SamplingClient]:
        yield from self.created.__await__()
        return self

    def _sample(
        self,
        prompt: ModelInput,
        num_samples: int,
        sampling_params: SamplingParams,
        include_prompt_logprobs: bool = False,
        topk_prompt_logprobs: int = 0,
    ) -> Call[SampleResponse]:
        """Draw sequences that continue a prompt.

        Parameters
        ----------
        prompt
            Tokens to continue.
        num_samples
            How many sequences to draw.
        sampling_params
            How to draw.
        include_prompt_logprobs
            Whether to score the prompt's own tokens too.
        topk_prompt_logprobs
            How many likeliest tokens to give per prompt position.

        Returns
        -------
        SampleResponse
            The sequences, each with tokens and log-probabilities.

        Raises
        ------
        InvalidInputError
            No prompt, or no samples wanted.

        Examples
        --------
        >>> response = sampler.sample(prompt, 4, SamplingParams(max_tokens=20)).result()
        >>> response = await sampler.sample_async(prompt, 4, SamplingParams(max_tokens=20))
        """
        if prompt.length == 0:
            raise InvalidInputError("The prompt is empty.")
        if num_samples < 1:
            raise InvalidInputError(f"num_samples must be at least 1, not {num_samples}.")
        return calls.sample(
            calls.at_hand(prompt),
            num_samples,
            sampling_params,
            prompt_logprobs=include_prompt_logprobs,
            topk_prompt_logprobs=topk_prompt_logprobs,
        )

    sample = blocking(_sample)
    sample_async = asynchronous_value(_sample)

    def start_sample(
        self,
        prompt: calls.Source[ModelInput],
        num_samples: int,
        sampling_params: SamplingParams,
        loop: asyncio.AbstractEventLoop,
        read: Callable[[SampleResponse], T],
    ) -> TinkerFuture[T]:
        """Start to draw for a prompt that may still be being prepared.

        The future comes at once; its result is what ``read`` makes of the response.
        """
        call = calls.sample(
            prompt, num_samples, sampling_params, prompt_logprobs=False, topk_prompt_logprobs=0
        )
        return self._start(calls.reading(call, read), loop)

    def _start(self, call: Call[T], loop: asyncio.AbstractEventLoop) -> TinkerFuture[T]:
        future: TinkerFuture[T] = TinkerFuture(call.kind, model_id=self.created.snapshot.model_id)
        address = _SamplingSession(self.created)
        Work(call, future, self._service.transport, address, next(self._seq_ids)).start(loop)
        return future


class _SamplingSession:
    """The address of a sampling session that may still be being made."""

    def __init__(self, session: TinkerFuture[Any]) -> None:
        self._session = session

    async def resolve(self) -> str:
        """Return the sampling session's id."""
        try:
            made: HasSession = await self._session
        except TinkerError as error:
            raise InvalidInputError(
                f"There is nothing to sample from: {error.message}",
                fault=error.fault,
                advice=error.advice,
            ) from error
        if made.sampling_session_id is None:
            raise InvalidInputError("The server saved the weights but gave no sampling session.")
        return made.sampling_session_id
