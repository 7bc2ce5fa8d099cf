"""SamplingClient: draws from the base model, a checkpoint, or weights in training."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import SecretStr

from tinker_nb.client import calls, handles
from tinker_nb.client.addresses import SamplingSession
from tinker_nb.client.checks import check_sample
from tinker_nb.client.exchange import Request
from tinker_nb.client.extras import check_extras, json_targets
from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.journey import Journey
from tinker_nb.client.loops import loop_thread, wait_blocking
from tinker_nb.client.made import Made
from tinker_nb.client.operations import Call, asynchronous_value, blocking, blocking_of
from tinker_nb.client.sealing import sealing
from tinker_nb.client.work import Work
from tinker_nb.errors import TinkerError
from tinker_nb.wire.data import ModelInput
from tinker_nb.wire.params import SamplingParams
from tinker_nb.wire.responses import GetSamplerResponse
from tinker_nb.wire.results import SampleResponse
from tinker_nb.wire.tensors import TensorData

if TYPE_CHECKING:
    from tinker_nb.client.service import ServiceClient
    from tinker_nb.data.chat import ChatTokenizer

T = TypeVar("T")


class SamplingClient(Made):
    """Draws text from one state of a model; made by `ServiceClient` or `TrainingClient`.

    It can be used at once: calls wait until its sampling session is there. Another process can
    use the same sampler through `get_sampler_handle`, or by pickling; the key does not travel.

    Examples
    --------
    >>> answer = sampler.sample(prompt, 1, SamplingParams(max_tokens=20)).result()
    >>> answer = await sampler.sample_async(prompt, 1, SamplingParams(max_tokens=20))
    """

    def __init__(
        self,
        service: ServiceClient,
        session: TinkerFuture[Any],
        *,
        record_stability_info: bool = False,
        first_seq_id: int = 0,
    ) -> None:
        self._service = service
        self._records = record_stability_info
        self.created = session
        self._seq_ids = itertools.count(first_seq_id)

    def __repr__(self) -> str:
        return f"<SamplingClient {self.created.state.value}>"

    def _sample(
        self,
        prompt: ModelInput,
        num_samples: int,
        sampling_params: SamplingParams,
        include_prompt_logprobs: bool = False,
        topk_prompt_logprobs: int = 0,
        topk_sample_logprobs: int = 0,
        target_prompt_logprobs: TensorData | None = None,
        prompt_alt_tokens_k: int = 0,
        prompt_logprobs_last_n: int | None = None,
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
        topk_sample_logprobs
            How many likeliest tokens to give per drawn position.
        target_prompt_logprobs
            Tokens to score at each prompt position after the first: int64 of shape
            (prompt length - 1, K); -1 skips a cell.
        prompt_alt_tokens_k
            How many other tokens to draw at each prompt position after the first.
        prompt_logprobs_last_n
            Score only so many tokens at the prompt's end.

        Returns
        -------
        SampleResponse
            The sequences, each with tokens and log-probabilities.

        Raises
        ------
        InvalidInputError
            No prompt, no samples wanted, or extras that do not fit; nothing was sent.
        NotSupportedByServer
            The server left out an extra that was asked for.

        Examples
        --------
        >>> response = sampler.sample(prompt, 4, SamplingParams(max_tokens=20)).result()
        >>> response = await sampler.sample_async(prompt, 4, SamplingParams(max_tokens=20))
        """
        counts = {
            "topk_prompt_logprobs": topk_prompt_logprobs,
            "topk_sample_logprobs": topk_sample_logprobs,
            "prompt_alt_tokens_k": prompt_alt_tokens_k,
        }
        targets, last_n = target_prompt_logprobs, prompt_logprobs_last_n
        check_sample(prompt, num_samples, counts, targets, last_n, include_prompt_logprobs)
        wanted: dict[str, Any] = {
            **counts,
            "prompt_logprobs": include_prompt_logprobs,
            "prompt_logprobs_last_n": last_n,
            "target_prompt_logprobs": json_targets(targets),
        }
        call = calls.sample(
            calls.at_hand(prompt),
            num_samples=num_samples,
            sampling_params=sampling_params,
            record_stability_info=self._records,
            **wanted,
        )
        return calls.reading(call, lambda response: check_extras(response, wanted))

    def _compute_logprobs(
        self, prompt: ModelInput, prompt_logprobs_last_n: int | None = None
    ) -> Call[list[float | None]]:
        """Score the tokens of a prompt.

        Parameters
        ----------
        prompt
            Tokens to score.
        prompt_logprobs_last_n
            Score only so many tokens at the end.

        Returns
        -------
        list[float | None]
            A log-probability per token; None for the first, and for those left out.

        Examples
        --------
        >>> scores = sampler.compute_logprobs(prompt).result()
        >>> scores = await sampler.compute_logprobs_async(prompt)
        """
        # As the protocol has it (section 2.6): one token is drawn, and thrown away.
        call = self._sample(
            prompt,
            1,
            SamplingParams(max_tokens=1),
            include_prompt_logprobs=True,
            prompt_logprobs_last_n=prompt_logprobs_last_n,
        )
        call = replace(call, operation="compute_logprobs")
        return calls.reading(call, lambda response: list(response.prompt_logprobs or ()))

    sample = blocking(_sample)
    sample_async = asynchronous_value(_sample)
    compute_logprobs = blocking(_compute_logprobs)
    compute_logprobs_async = asynchronous_value(_compute_logprobs)

    # What it draws from

    async def get_base_model_async(self) -> str:
        """Return the name of the base model.

        Examples
        --------
        >>> sampler.get_base_model()
        >>> await sampler.get_base_model_async()
        """
        sampler_id = await SamplingSession(self.created).resolve()
        request = Request("GET", f"/api/v1/samplers/{sampler_id}")
        said = await self._service.server.ask("get_base_model", request, GetSamplerResponse)
        return said.base_model

    get_base_model = blocking_of(get_base_model_async)

    async def get_tokenizer_async(self) -> ChatTokenizer:
        """Return the model's tokenizer.

        Examples
        --------
        >>> text = sampler.get_tokenizer().decode(response.sequences[0].tokens)
        >>> tokenizer = await sampler.get_tokenizer_async()
        """
        await self._service.server.require("get_tokenizer")
        return await self._service.tokenizer_of(await self.get_base_model_async(), None)

    get_tokenizer = blocking_of(get_tokenizer_async)

    def get_telemetry(self) -> None:
        """Return nothing: this client sends no telemetry."""

    # In other processes

    def get_sampler_handle(self) -> str:
        """Return a text from which any process can make a client of this sampler; no key in it.

        Waits until the sampling session is there. The official SDK can read it too.
        """
        return handles.to_text(self._handle(), self._service.server.known)

    @classmethod
    @sealing
    def from_sampler_handle(cls, handle: str, *, api_key: str | SecretStr | None = None) -> Self:
        """Return a client of the sampler behind a handle.

        Parameters
        ----------
        handle
            From `get_sampler_handle`, or from the official SDK's method of that name.
        api_key
            The key; ``TINKER_API_KEY`` when not given.

        Raises
        ------
        InvalidInputError
            The text is no handle.
        """
        from tinker_nb.client.service import ServiceClient

        parsed = handles.from_text(handle)
        service = ServiceClient(
            base_url=parsed.base_url, api_key=api_key, default_headers_overrides=parsed.headers
        )
        if parsed.session_id:
            service.session.join(parsed.session_id)
        return cls(
            service,
            handles.made_elsewhere(parsed),
            record_stability_info=parsed.record_stability_info,
            first_seq_id=handles.first_seq_id(),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_sampler_handle, (self.get_sampler_handle(),)

    def _handle(self) -> handles.SamplerHandle:
        sampling_session_id = self.created.result().sampling_session_id
        return handles.SamplerHandle(
            base_url=self._service.base_url or "",
            session_id=self._service.session.session_id or "",
            sampling_session_id=str(sampling_session_id),
            record_stability_info=self._records,
            base_model=wait_blocking(loop_thread().submit(self._name_of_base())),
        )

    async def _name_of_base(self) -> str:
        """Return the base model's name, or nothing where the server does not say it."""
        try:
            return await self.get_base_model_async()
        except TinkerError:
            return ""

    # How calls start

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
        call = calls.sample(prompt, num_samples=num_samples, sampling_params=sampling_params)
        return self._start(calls.reading(call, read), loop)

    def _start(self, call: Call[T], loop: asyncio.AbstractEventLoop) -> TinkerFuture[T]:
        self._service.server.refuse_missing(call.name)
        model_id = self.created.snapshot.model_id
        future: TinkerFuture[T] = TinkerFuture(call.kind.name, model_id=model_id)
        address, server = SamplingSession(self.created), self._service.server
        Work(future, Journey(call, future, server, address, lambda: next(self._seq_ids))).start(
            loop
        )
        return future
