"""LoRA runs on tiny-chat: a new task, and a reward."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from build import END
from lessons import Message
from peft import LoraConfig, get_peft_model
from sampling import answers, prompt_ids, sample, text_of
from torch import Tensor, nn
from train import IGNORED, Batch, collate

from tinker_nb.data.toy import pig_latin_conversations


@dataclass(frozen=True)
class Recipe:
    """Settings of a LoRA run.

    Attributes
    ----------
    rank, batch, steps : int
        Rank of the adapter, conversations in a step, optimizer steps.
    rate : float
        Learning rate; it falls to zero along a line for Pig Latin, and is constant for rewards.
    seed : int
        Seed of the adapter, the data and the sampling.
    """

    rank: int = 32
    rate: float = 6e-3
    batch: int = 32
    steps: int = 80
    seed: int = 0


def with_lora(model: Any, recipe: Recipe) -> tuple[Any, torch.optim.AdamW]:
    """Add an adapter on every linear layer, with the optimizer that Tinker uses."""
    torch.manual_seed(recipe.seed)
    config = LoraConfig(r=recipe.rank, lora_alpha=32, target_modules="all-linear")
    adapted = get_peft_model(model, config)
    trained = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=recipe.rate, betas=(0.9, 0.95), eps=1e-12, weight_decay=0.0
    )
    return adapted, optimizer


def log_likelihoods(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Compute the log-likelihood of each answered token, and the rows they are in."""
    ids, labels = batch
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    wanted = labels[:, 1:]
    chosen = wanted != IGNORED
    found = -nn.functional.cross_entropy(logits[chosen], wanted[chosen], reduction="none")
    return found, chosen.nonzero()[:, 0]


def descend(optimizer: torch.optim.AdamW, loss: Tensor) -> None:
    """Take one optimizer step down a loss."""
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad()


def row_of(messages: list[Message]) -> tuple[list[int], list[int]]:
    """Turn a conversation into ids and labels; its last turn is learnt."""
    return answered(prompt_ids(messages[:-1]), [*messages[-1]["content"].encode(), END])


def answered(prompt: list[int], answer: list[int]) -> tuple[list[int], list[int]]:
    """Join a prompt and an answer to ids and labels."""
    return prompt + answer, [IGNORED] * len(prompt) + answer


def pig_latin_accuracy(model: Any, count: int = 200) -> float:
    """Measure exact match on held-out words."""
    conversations = pig_latin_conversations(count, seed=7, split="held_out")
    given = answers(model, [prompt_ids(c[:-1]) for c in conversations], limit=24, size=200)
    right = [a == c[-1]["content"] for a, c in zip(given, conversations, strict=True)]
    return sum(right) / count


def learn_pig_latin(model: Any, recipe: Recipe) -> tuple[Any, float]:
    """Fine-tune on Pig Latin, and return the adapted model and the seconds it took."""
    conversations = pig_latin_conversations(
        recipe.batch * recipe.steps, seed=recipe.seed, split="train"
    )
    started = time.monotonic()
    adapted, optimizer = with_lora(model, recipe)
    for start in range(0, len(conversations), recipe.batch):
        batch = collate([row_of(c) for c in conversations[start : start + recipe.batch]])
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * (1 - start / len(conversations))
        descend(optimizer, -log_likelihoods(adapted, batch)[0].sum())
    return adapted, time.monotonic() - started


def reinforce(
    model: Any, prompt: str, reward: Callable[[str], float], recipe: Recipe
) -> Iterator[tuple[float, float, list[str]]]:
    """Raise a reward by policy gradient.

    Yields
    ------
    tuple of float, float, list of str
        After every step: the mean reward of its samples, the seconds so far, the samples.
    """
    started = time.monotonic()
    adapted, optimizer = with_lora(model, recipe)
    ids = prompt_ids([{"role": "user", "content": prompt}])
    for _ in range(recipe.steps):
        rows = sample(adapted, [ids] * recipe.batch, limit=40, greedy=False)
        texts = [text_of(row) for row in rows]
        rewards = torch.tensor([reward(text) for text in texts])
        policy_step(adapted, optimizer, collate([answered(ids, row) for row in rows]), rewards)
        yield rewards.mean().item(), time.monotonic() - started, texts


def policy_step(model: Any, optimizer: torch.optim.AdamW, batch: Batch, rewards: Tensor) -> None:
    """Take one step on centred rewards; on-policy, so the importance ratio is one."""
    likelihoods, rows = log_likelihoods(model, batch)
    ratio = (likelihoods - likelihoods.detach()).exp()
    descend(optimizer, -(ratio * (rewards - rewards.mean())[rows]).sum())
