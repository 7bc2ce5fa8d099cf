"""Measure tiny-chat and print the tables of its model card.

Run ``python scripts/pretrain/evaluate.py --model DIR``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import curriculum
from abilities import draws, held_out, score
from finetune import Recipe, learn_pig_latin, pig_latin_accuracy, reinforce

REWARDS: dict[str, tuple[str, Callable[[str], float]]] = {
    "ten letters": ("Tell me a word.", lambda text: max(0.0, 1 - abs(len(text) - 10) / 10)),
    "a letter e": ("Tell me a word.", lambda text: float("e" in text and len(text) < 9)),
    "short stories": ("Tell me a story.", lambda text: 1 - min(len(text), 120) / 120),
    "kind words": ("Say something nice.", lambda text: float("kind" in text)),
}


def load(folder: Path) -> Any:
    """Load the model."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.train(mode=False)


def ability_table(model: Any, count: int, misses: int) -> list[str]:
    """Measure every ability, and show some misses."""
    lines = ["| ability | prompts | exact match |", "| --- | ---: | ---: |"]
    for name, draw in draws().items():
        lessons = held_out(draw, count, seed=99)
        right, wrong = score(model, lessons)
        lines.append(f"| {name} | {len(lessons)} | {100 * right:.1f} % |")
        lines += [f"    {prompt!r}: {a!r}, not {b!r}" for prompt, a, b in wrong[:misses]]
    return lines


def pig_latin_table(folder: Path, recipes: list[Recipe]) -> list[str]:
    """Measure LoRA runs on Pig Latin."""
    lines = [f"before: {100 * pig_latin_accuracy(load(folder)):.1f} %"]
    for recipe in recipes:
        adapted, seconds = learn_pig_latin(load(folder), recipe)
        right = 100 * pig_latin_accuracy(adapted)
        lines.append(f"{recipe}: {right:.1f} % after {seconds:.1f} s")
    return lines


def reward_table(folder: Path, recipe: Recipe) -> list[str]:
    """Measure policy-gradient runs."""
    lines = ["| reward | prompt | first | last | seconds |", "| --- | --- | ---: | ---: | ---: |"]
    for name, (prompt, reward) in REWARDS.items():
        runs = list(reinforce(load(folder), prompt, reward, recipe))
        first, last = runs[0], runs[-1]
        lines.append(f"| {name} | {prompt} | {first[0]:.2f} | {last[0]:.2f} | {last[1]:.0f} |")
        lines.append(f"    {first[2][:6]} -> {last[2][:6]}")
    return lines


def leak_table(count: int) -> list[str]:
    """Check that no training lesson holds a held-out word."""
    seen = itertools.islice(curriculum.lessons(0), count)
    leaking = sum(curriculum.leaks(lesson) for lesson in seen)
    missing = curriculum.frequent_held_out(1, count)
    return [f"lessons with a held-out word: {leaking} of {count}", f"words to keep: {missing}"]


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--only", choices=("abilities", "lora", "rl", "leaks"))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--misses", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(2)
    for name, table in parts(options).items():
        if options.only in (None, name):
            print("\n".join([f"## {name}", *table(), ""]), flush=True)


def parts(options: argparse.Namespace) -> dict[str, Callable[[], list[str]]]:
    """List the measurements by name."""
    folder: Path = options.model
    recipes = [Recipe(), Recipe(rank=16)]
    return {
        "leaks": lambda: leak_table(20_000),
        "abilities": lambda: ability_table(load(folder), options.count, options.misses),
        "lora": lambda: pig_latin_table(folder, recipes),
        "rl": lambda: reward_table(folder, Recipe(batch=64, steps=25, rate=1e-3)),
    }


if __name__ == "__main__":
    main()
