"""Doing the work: everything that touches the model, used by one thread only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinker_nb.errors import UnknownNameError
from tinker_nb.server.engine.adamw import optim_step
from tinker_nb.server.engine.adapters import Adapter, Slots
from tinker_nb.server.engine.base import Base
from tinker_nb.server.engine.files import load_adapter, save_adapter
from tinker_nb.server.engine.sampling import Sampler
from tinker_nb.server.engine.stops import Decode
from tinker_nb.server.engine.training import forward_backward
from tinker_nb.server.engine.work import (
    CreateAdapter,
    ForwardBackward,
    LiveWeights,
    OptimStep,
    RemoveAdapter,
    Sample,
    SampleMany,
    SaveAdapter,
    WeightsSource,
    Work,
)

_LOADED_LIMIT = 8  # checkpoints kept in memory for sampling
_LOGITS_LIMIT = 2**27  # most logits of a batch: half a gigabyte of them


class Workshop:
    """The base model, the adapters in training, and the checkpoints in use.

    Parameters
    ----------
    base
        The model.
    decode
        Tokens to text.
    batch_tokens
        Most tokens that go through the model at once in training.
    batch_rows
        Most sequences that are drawn at once.
    checkpoint
        Called at every point where long work can be left; may raise to stop it.
    """

    def __init__(
        self,
        base: Base,
        decode: Decode,
        *,
        batch_tokens: int,
        batch_rows: int = 64,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> None:
        self._model = base.model
        self._slots = Slots(base)
        self._live: dict[str, Adapter] = {}
        self._loaded: OrderedDict[Path, Adapter] = OrderedDict()
        self._budget = max(1, min(batch_tokens, _LOGITS_LIMIT // base.facts.vocab_size))
        self.checkpoint = checkpoint
        context, ends = base.facts.context, base.end_tokens
        self._sampler = Sampler(
            base.model, context, ends, decode, batch_rows, lambda: self.checkpoint()
        )

    def do(self, work: Work) -> Any:
        """Do one piece of work and return its result."""
        match work:
            case ForwardBackward():
                return self._forward_backward(work)
            case OptimStep(model_id, params, needs_gradients):
                return optim_step(self._adapter(model_id), params, needs_gradients=needs_gradients)
            case CreateAdapter(model_id, spec):
                self._live[model_id] = self._slots.create(spec)
                return model_id
            case RemoveAdapter(model_id):
                return self._live.pop(model_id, None) is not None
            case SaveAdapter(model_id, directory):
                return save_adapter(self._slots, self._adapter(model_id), directory)
            case Sample():
                return self.sample([work])[0]
            case SampleMany(requests):
                return self.sample(requests)

    def sample(self, requests: Sequence[Sample]) -> list[Any]:
        """Draw for several requests on the same weights at once."""
        self._slots.plug(self._weights(requests[0].weights))
        return list(self._sampler.draw(requests))

    def _forward_backward(self, work: ForwardBackward) -> Any:
        return forward_backward(
            self._slots,
            self._model,
            self._adapter(work.model_id),
            work,
            budget=self._budget,
            checkpoint=lambda: self.checkpoint(),
        )

    def _adapter(self, model_id: str) -> Adapter:
        adapter = self._live.get(model_id)
        if adapter is None:
            raise UnknownNameError(f"The model {model_id} does not exist any more.")
        return adapter

    def _weights(self, source: WeightsSource) -> Adapter | None:
        if source is None:
            return None
        if isinstance(source, LiveWeights):
            return self._adapter(source.model_id)
        return self._saved(source.directory)

    def _saved(self, directory: Path) -> Adapter:
        if directory not in self._loaded:
            self._loaded[directory] = load_adapter(self._slots, directory)
        self._loaded.move_to_end(directory)
        while len(self._loaded) > _LOADED_LIMIT:
            self._loaded.popitem(last=False)
        return self._loaded[directory]
