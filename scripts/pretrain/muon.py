"""The Muon optimizer: momentum whose matrices are made nearly orthogonal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(stack: Tensor, steps: int = 5) -> Tensor:
    """Bring the singular values of a stack of matrices close to one.

    Parameters
    ----------
    stack : Tensor
        Matrices, of shape ``(count, rows, columns)``.
    steps : int
        Newton-Schulz steps.

    Returns
    -------
    Tensor
        The nearly orthogonal matrices.
    """
    a, b, c = _COEFFICIENTS
    tall = stack.shape[1] > stack.shape[2]
    x: Tensor = stack.mT if tall else stack
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    found: Tensor = x.mT if tall else x
    return found


class Muon:
    """Muon for the inner matrices of a model.

    Parameters
    ----------
    matrices : iterable of Parameter
        What to optimise, two-dimensional.
    momentum : float
        Decay of the running gradient.
    decay : float
        Weight decay, times the rate.
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], momentum: float = 0.95, decay: float = 0.05
    ) -> None:
        groups: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for matrix in matrices:
            groups[matrix.shape].append(matrix)
        self.groups = list(groups.values())
        self.running = [torch.zeros(len(group), *group[0].shape) for group in self.groups]
        self.momentum, self.decay = momentum, decay

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Take one step with the given learning rate, and clear the gradients."""
        for group, running in zip(self.groups, self.running, strict=True):
            gradient = torch.stack([m.grad for m in group if m.grad is not None])
            running.lerp_(gradient, 1 - self.momentum)
            update = orthogonalise(gradient.lerp(running, self.momentum))
            scale = rate * max(1.0, update.shape[1] / update.shape[2]) ** 0.5
            for matrix, change in zip(group, update, strict=True):
                matrix.mul_(1 - rate * self.decay).sub_(change, alpha=scale)
                matrix.grad = None
