"""What both training loops train on, and how."""

from __future__ import annotations

import random

ROWS, LENGTH = 8, 64
TOKENS = ROWS * LENGTH
STEPS, WARM_STEPS = 40, 5
RANK, ALPHA = 32, 32
LEARNING_RATE, BETAS, EPS = 1e-4, (0.9, 0.95), 1e-12


def tokens_of_batch() -> list[list[int]]:
    """Return the rows of the batch, one token longer than what goes through the model."""
    rng = random.Random(0)
    return [[rng.randrange(1, 250) for _ in range(LENGTH + 1)] for _ in range(ROWS)]
