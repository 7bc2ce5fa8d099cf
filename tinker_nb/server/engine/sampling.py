"""Drawing sequences: the prompts of several requests in one batch, with a key-value cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from tinker_nb.server.engine.batches import pad
from tinker_nb.server.engine.choice import Warp, choose, make_warp, uniforms
from tinker_nb.server.engine.stops import Decode, StopRule, stop_rule
from tinker_nb.server.engine.work import Ints, Sample
from tinker_nb.wire.results import SampledSequence, SampleResponse, StopReason, TopkRow


@dataclass
class Row:
    """One sequence being drawn: its request, and which of the request's sequences it is."""

    request: Sample
    number: int
    rule: StopRule
    limit: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    reason: StopReason | None = None
    prompt_logits: Tensor | None = None

    def add(self, token: int, logprob: float, decode: Decode) -> bool:
        """Take in a token; says whether it was the last."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if self.rule.ends(self.tokens, decode):
            self.reason = "stop"
        elif len(self.tokens) >= self.limit:
            self.reason = "length"
        return self.reason is not None


@dataclass(frozen=True)
class Live:
    """The rows that still go on, and what belongs to each of them."""

    rows: list[Row]
    logits: Tensor
    mask: Tensor | None
    cache: DynamicCache
    warp: Warp
    chance: Tensor

    def select(self, keep: Tensor) -> Live:
        """Keep some rows."""
        self.cache.batch_select_indices(keep)
        return Live(
            [self.rows[place] for place in keep.tolist()],
            self.logits[keep],
            None if self.mask is None else self.mask[keep],
            self.cache,
            self.warp.select(keep),
            self.chance[keep],
        )

    def grown_mask(self) -> Tensor | None:
        """Return the mask with a column for the token that comes next."""
        if self.mask is None:
            return None
        return torch.cat([self.mask, self.mask.new_ones(len(self.rows), 1)], dim=-1)


@dataclass
class Sampler:
    """A model ready to draw, with an adapter plugged in or none.

    Parameters
    ----------
    model
        A transformers causal language model.
    context
        Most tokens it reads at once.
    end_tokens
        Tokens that end a turn.
    decode
        Tokens to text, for stop texts.
    batch_rows
        Most sequences drawn at once.
    checkpoint
        Called before every token; may raise to stop.
    """

    model: Any
    context: int
    end_tokens: frozenset[int]
    decode: Decode
    batch_rows: int
    checkpoint: Callable[[], None] = lambda: None

    @torch.inference_mode()
    def draw(self, requests: Sequence[Sample]) -> list[SampleResponse]:
        """Return the answer of every request."""
        rows = [row for request in requests for row in self._rows(request)]
        for start in range(0, len(rows), self.batch_rows):
            self._draw_rows(rows[start : start + self.batch_rows])
        per_request: dict[int, list[Row]] = {}
        for row in rows:
            per_request.setdefault(id(row.request), []).append(row)
        return [_response(request, per_request[id(request)]) for request in requests]

    def _rows(self, request: Sample) -> list[Row]:
        # The last token drawn is never read, hence the one beyond the context.
        room = self.context - len(request.prompt) + 1
        limit = min(request.params.max_tokens or room, room)
        rule = stop_rule(request.params, self.end_tokens)
        return [Row(request, number, rule, limit) for number in range(request.num_samples)]

    def _draw_rows(self, rows: list[Row]) -> None:
        """Draw some rows to their ends; rows of one request share the reading of its prompt."""
        requests = list({id(row.request): row.request for row in rows}.values())
        cache = DynamicCache()
        logits, mask = self._read_prompts(requests, cache)
        places = {id(request): place for place, request in enumerate(requests)}
        origin = [places[id(row.request)] for row in rows]
        for row, place in zip(rows, origin, strict=True):
            row.prompt_logits = logits[place] if _wants_scores(row.request) else None
        self._continue(_begin(rows, torch.tensor(origin), logits[:, -1], mask, cache))

    def _read_prompts(
        self, requests: Sequence[Sample], cache: DynamicCache
    ) -> tuple[Tensor, Tensor | None]:
        """Return the prompts' logits, and the mask of the padding where there is some."""
        prompts = [request.prompt for request in requests]
        tokens = torch.from_numpy(pad(prompts, left=True))
        mask = None
        if len({len(prompt) for prompt in prompts}) > 1:
            mask = torch.from_numpy(pad([np.ones_like(prompt) for prompt in prompts], left=True))
        keep = 0 if any(_wants_scores(request) for request in requests) else 1
        return self._forward(tokens, mask, cache, logits_to_keep=keep), mask

    def _forward(
        self, tokens: Tensor, mask: Tensor | None, cache: DynamicCache, *, logits_to_keep: int
    ) -> Tensor:
        extra: dict[str, Tensor] = {}
        if mask is not None:
            positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
            extra = {"attention_mask": mask, "position_ids": positions}
        output = self.model(
            input_ids=tokens,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=logits_to_keep,
            **extra,
        )
        logits: Tensor = output.logits.float()
        return logits

    def _continue(self, state: Live) -> None:
        """Draw until every row has ended; rows that have leave the batch."""
        for step in range(state.chance.shape[1]):
            self.checkpoint()
            tokens = choose(state.logits, state.warp, state.chance[:, step])
            going = self._take_in(state, tokens)
            if not going:
                return
            if len(going) < len(state.rows):
                keep = torch.tensor(going)
                state, tokens = state.select(keep), tokens[keep]
            mask = state.grown_mask()
            logits = self._forward(tokens.unsqueeze(-1), mask, state.cache, logits_to_keep=1)
            state = replace(state, logits=logits[:, -1], mask=mask)

    def _take_in(self, state: Live, tokens: Tensor) -> list[int]:
        """Give each row its token; returns the places of the rows that go on."""
        chosen = state.logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        scores = (chosen - state.logits.logsumexp(-1)).tolist()
        drawn = zip(state.rows, tokens.tolist(), scores, strict=True)
        return [i for i, (row, t, s) in enumerate(drawn) if not row.add(t, s, self.decode)]


def _begin(
    rows: list[Row], origin: Tensor, logits: Tensor, mask: Tensor | None, cache: DynamicCache
) -> Live:
    """Return the batch as the prompts leave it: one row for every sequence to draw.

    ``origin`` says which prompt each row continues.
    """
    if len(rows) > len(logits):
        cache.batch_select_indices(origin)
        mask = None if mask is None else mask[origin]
    warp = make_warp([row.request.params for row in rows], logits.shape[-1])
    longest = max(row.limit for row in rows)
    chance = [uniforms(row.request.params.seed, row.number, longest) for row in rows]
    return Live(rows, logits[origin], mask, cache, warp, torch.from_numpy(np.stack(chance)))


def _wants_scores(request: Sample) -> bool:
    return request.prompt_logprobs or request.topk_prompt_logprobs > 0


def _response(request: Sample, rows: Sequence[Row]) -> SampleResponse:
    sequences = [SampledSequence(row.reason or "length", row.tokens, row.logprobs) for row in rows]
    length, logits = len(request.prompt), rows[0].prompt_logits
    if length < 2 or logits is None:
        blank: list[float | None] = [None] * length
        return SampleResponse(sequences, blank if request.prompt_logprobs else None)
    scores = logits[-length:-1].log_softmax(-1)
    return SampleResponse(
        sequences,
        _prompt_logprobs(scores, request.prompt) if request.prompt_logprobs else None,
        _topk(scores, request.topk_prompt_logprobs) if request.topk_prompt_logprobs else None,
    )


def _prompt_logprobs(scores: Tensor, prompt: Ints) -> list[float | None]:
    chosen = scores.gather(-1, torch.from_numpy(prompt[1:]).unsqueeze(-1)).squeeze(-1)
    return [None, *chosen.tolist()]


def _topk(scores: Tensor, k: int) -> list[TopkRow]:
    values, tokens = scores.topk(min(k, scores.shape[-1]), dim=-1)
    pairs = zip(tokens.tolist(), values.tolist(), strict=True)
    return [None, *(list(zip(*pair, strict=True)) for pair in pairs)]
