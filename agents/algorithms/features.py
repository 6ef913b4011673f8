"""Features of states, in which a function or a policy is linear."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn


class RandomFeatures(nn.Module):
    """Random Fourier features cos(w·z + b) (R, F) of standardised states z, and a constant (Rahimi and Recht 2007).

    They have the kernel e^(-|z - z'|² / 2h²).
    """

    def __init__(self, size: int, count: int, width: float, rng: Generator) -> None:
        super().__init__()
        device = rng.device
        self.mean: Tensor
        self.std: Tensor
        self.weight: Tensor
        self.phase: Tensor
        self.register_buffer("mean", torch.zeros(size, device=device))
        self.register_buffer("std", torch.ones(size, device=device))
        self.register_buffer("weight", torch.randn(size, count, generator=rng, device=device) / width)
        self.register_buffer("phase", 2 * math.pi * torch.rand(count, generator=rng, device=device))

    @property
    def count(self) -> int:
        return len(self.phase) + 1

    def standardise(self, state: Tensor) -> None:
        """Takes the mean and spread of these states (R, S)."""
        self.mean.copy_(state.mean(0))
        self.std.copy_(state.std(0).clamp_min(1e-3))

    def forward(self, state: Tensor) -> Tensor:
        """(R, S) -> (R, F)."""
        waves = (((state - self.mean) / self.std) @ self.weight + self.phase).cos()
        return torch.cat([waves, torch.ones(len(state), 1, device=state.device)], -1)


class RadialFeatures(nn.Module):
    """Radial features (R, F) of states: e^(-|z - c|² / 2h²) around centres c, normalised to a sum of 1.

    The centres are a grid of `each` points a dimension in the cube [-1, 1]^S, for states in units of `scale`.
    """

    def __init__(self, scale: Tensor, each: int, width: float) -> None:
        super().__init__()
        line = torch.linspace(-1, 1, each, device=scale.device)
        self.scale: Tensor
        self.centres: Tensor
        self.register_buffer("scale", scale)
        self.register_buffer("centres", torch.cartesian_prod(*[line] * len(scale)).view(-1, len(scale)))
        self.width = width * 2 / max(1, each - 1)

    @property
    def count(self) -> int:
        return len(self.centres)

    def forward(self, state: Tensor) -> Tensor:
        """(R, S) -> (R, F)."""
        distance = torch.cdist(state / self.scale, self.centres).square()
        return torch.softmax(-distance / (2 * self.width**2), -1)
