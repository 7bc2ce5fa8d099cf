"""What both training loops train on, and how."""

from __future__ import annotations

import random

ROWS, LENGTH = 8, 64
TOKENS = ROWS * LENGTH
STEPS, WARM_STEPS, ROUNDS = 40, 5, 20
RANK, ALPHA = 32, 32
PROMPTS, NEW_TOKENS, DRAWS = 16, 64, 8
LEARNING_RATE, BETAS, EPS = 1e-4, (0.9, 0.95), 1e-12


def tokens_of_batch(rows: int = ROWS) -> list[list[int]]:
    """Return the rows of the batch, one token longer than what goes through the model."""
    rng = random.Random(0)
    return [[rng.randrange(1, 250) for _ in range(LENGTH + 1)] for _ in range(rows)]


def prompts() -> list[list[int]]:
    """Return the prompts to draw from, each another one."""
    return [row[:LENGTH] for row in tokens_of_batch(PROMPTS)]
