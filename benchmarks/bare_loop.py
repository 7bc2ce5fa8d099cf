"""Training with transformers and PEFT alone, in a process of its own; prints tokens a second.

The same model, batch, LoRA settings and optimizer as `benchmarks.training`.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the embedded server does; before torch

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from benchmarks.workload import (
    ALPHA,
    BETAS,
    EPS,
    LEARNING_RATE,
    RANK,
    STEPS,
    WARM_STEPS,
    tokens_of_batch,
)
from tinker_nb.server.tiny_chat import MODEL_DIR


def make_model() -> Any:
    """Return the model with an adapter on all its linear layers."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32)
    lora = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, target_modules="all-linear")
    return get_peft_model(base, lora)


def make_optimizer(model: Any) -> torch.optim.Optimizer:
    """Return the optimizer of what is trained in the model."""
    trained = [each for each in model.parameters() if each.requires_grad]
    return torch.optim.AdamW(trained, lr=LEARNING_RATE, betas=BETAS, eps=EPS, weight_decay=0.0)


def train(model: Any, optimizer: torch.optim.Optimizer, steps: int, pieces: int = 1) -> float:
    """Train and return the seconds it took.

    Parameters
    ----------
    model, optimizer
        What learns.
    steps
        How many steps of the optimizer.
    pieces
        Into how many the batch is cut, each with a forward and a backward of its own.
    """
    parts = torch.tensor(tokens_of_batch()).chunk(pieces)
    began = time.perf_counter()
    for _ in range(steps):
        for rows in parts:
            loss = summed_loss(model, rows[:, :-1], rows[:, 1:])
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def summed_loss(model: Any, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy, summed over tokens."""
    logits = model(input_ids=inputs, use_cache=False).logits
    flat, wanted = logits.flatten(0, 1), targets.flatten()
    return torch.nn.functional.cross_entropy(flat, wanted, reduction="sum")


def main() -> None:
    """Train, warm first, and print the figures as JSON."""
    model = make_model()
    optimizer = make_optimizer(model)
    train(model, optimizer, WARM_STEPS)
    seconds = train(model, optimizer, STEPS)
    size = sum(each.numel() for each in model.parameters() if each.requires_grad)
    print(json.dumps({"seconds": seconds, "threads": torch.get_num_threads(), "size": size}))


if __name__ == "__main__":
    main()
