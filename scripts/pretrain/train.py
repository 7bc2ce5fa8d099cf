"""Pre-train tiny-chat on two CPU cores.

Run ``python scripts/pretrain/train.py --out DIR``; the seed is fixed, and the
model is written to ``DIR`` at the end and now and then before.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import curriculum
from build import END, PAD, ROLES, make_config, save
from lessons import Lesson
from muon import Muon

IGNORED = -100
LESSONS_AT_ONCE = 12_000
Batch = tuple[Tensor, Tensor]


def encode(lesson: Lesson) -> tuple[list[int], list[int]]:
    """Turn a lesson into token ids, and labels that leave out what is not answered."""
    ids: list[int] = []
    labels: list[int] = []
    for message in lesson.messages:
        learns = message["role"] == "assistant"
        text = [*message["content"].encode(), *([END] if learns or not lesson.raw else [])]
        head = [] if lesson.raw else [ROLES[message["role"]]]
        ids += head + text
        labels += [IGNORED] * len(head) + (text if learns else [IGNORED] * len(text))
    return ids, labels


def collate(rows: list[tuple[list[int], list[int]]]) -> Batch:
    """Pad rows at their right to one length."""
    width = max(len(ids) for ids, _ in rows)
    ids = [row + [PAD] * (width - len(row)) for row, _ in rows]
    labels = [row + [IGNORED] * (width - len(row)) for _, row in rows]
    return torch.tensor(ids), torch.tensor(labels)


def batches(seed: int, tokens: int) -> Iterator[Batch]:
    """Generate batches of about so many tokens, of lessons of like length, without end."""
    stream, rng = curriculum.lessons(seed), random.Random(seed)
    while True:
        rows = [encode(lesson) for lesson in itertools.islice(stream, LESSONS_AT_ONCE)]
        rows.sort(key=lambda row: len(row[0]))
        groups = list(split(rows, tokens))
        rng.shuffle(groups)
        yield from map(collate, groups)


def split(
    rows: list[tuple[list[int], list[int]]], tokens: int
) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Cut sorted rows into groups of at most so many tokens, padding included."""
    group: list[tuple[list[int], list[int]]] = []
    for row in rows:
        if group and (len(group) + 1) * len(row[0]) > tokens:
            yield group
            group = []
        group.append(row)
    yield group


def loss_of(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """Compute the mean loss over the answered tokens; padding comes last, so no mask."""
    ids, labels = batch
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    wanted = labels[:, 1:]
    chosen = wanted != IGNORED
    return nn.functional.cross_entropy(model.lm_head(hidden[chosen]), wanted[chosen])


def rate(progress: float, peak: float) -> float:
    """Warm up over the first fiftieth, then decay like a cosine to a fiftieth."""
    if progress < 0.02:
        return peak * progress / 0.02
    done = min(1.0, (progress - 0.02) / 0.98)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


class Optimizer:
    """Muon for the inner matrices, AdamW for embeddings and norms.

    Parameters
    ----------
    model : LlamaForCausalLM
        The model.
    """

    def __init__(self, model: LlamaForCausalLM) -> None:
        inner = [p for p in model.model.layers.parameters() if p.ndim == 2]
        chosen = {id(p) for p in inner}
        others = [p for p in model.parameters() if id(p) not in chosen]
        self.muon = Muon(inner)
        self.adam = torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0)

    def step(self, rate_now: float) -> None:
        """Take one step; AdamW uses a fifth of Muon's rate."""
        self.muon.step(rate_now)
        for group in self.adam.param_groups:
            group["lr"] = rate_now / 5
        self.adam.step()
        self.adam.zero_grad()


def train(options: argparse.Namespace) -> None:
    """Train for the given number of steps, and save."""
    torch.manual_seed(options.seed)
    model = LlamaForCausalLM(make_config())
    if options.start:
        model = LlamaForCausalLM.from_pretrained(options.start)
    optimizer, started, total = Optimizer(model), time.monotonic(), 0.0
    stream = itertools.islice(batches(options.seed, options.tokens), options.steps)
    for step, batch in enumerate(stream, 1):
        progress = max(step / options.steps, (time.monotonic() - started) / options.seconds)
        total += train_step(model, optimizer, batch, rate(progress, options.rate))
        if step % 100 == 0:
            report(step, total / 100, time.monotonic() - started)
            total = 0.0
        if step % 1000 == 0 or progress >= 1:
            save(model, options.out)
        if progress >= 1:
            break


def train_step(
    model: LlamaForCausalLM, optimizer: Optimizer, batch: Batch, rate_now: float
) -> float:
    """Take one optimizer step and return its loss."""
    loss = loss_of(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step(rate_now)
    return loss.item()


def report(step: int, loss: float, seconds: float) -> None:
    """Print one line of progress."""
    print(f"step {step:6d}  loss {loss:.4f}  {seconds:7.1f} s", flush=True)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--tokens", type=int, default=3072, help="tokens in a batch")
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--seconds", type=float, default=3600, help="stop by then")
    parser.add_argument("--start", type=Path, help="go on from this model")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(2)
    train(options)


if __name__ == "__main__":
    main()
