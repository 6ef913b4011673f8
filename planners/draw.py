"""The random numbers of a search."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from elites.spaces import Space


@dataclass(frozen=True)
class Draw:
    """Draws numbers of the space's dtype for every problem of a batch, from one generator."""

    space: Space
    batch: tuple[int, ...]
    rng: Generator

    def normal(self, count: int, *shape: int) -> Tensor:
        """(*B, count, *shape) standard normal."""
        space = self.space
        return torch.randn(*self.batch, count, *shape, generator=self.rng, dtype=space.dtype, device=space.device)

    def uniform(self, count: int, *shape: int) -> Tensor:
        """(*B, count, *shape) uniform in [0, 1)."""
        space = self.space
        return torch.rand(*self.batch, count, *shape, generator=self.rng, dtype=space.dtype, device=space.device)
