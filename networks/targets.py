"""Slow copies of networks, for targets."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from elites.networks.descent import Following

Network = TypeVar("Network", bound=nn.Module)


def slow_copy(module: Network) -> Network:
    """A target network without gradients. `Follower` moves it."""
    return copy.deepcopy(module).requires_grad_(False)


class Follower:
    """slow ← slow + τ (fast - slow). Buffers, such as a normalizer, are copied."""

    def __init__(self, slow: nn.Module, fast: nn.Module) -> None:
        self.parameters = Following(list(slow.parameters()), list(fast.parameters()))
        self.buffers = list(zip(slow.buffers(), fast.buffers(), strict=True))

    @torch.no_grad()
    def __call__(self, tau: float) -> None:
        self.parameters.step(tau)
        for mine, theirs in self.buffers:
            mine.copy_(theirs)


def follow(slow: nn.Module, fast: nn.Module, tau: float) -> None:
    """Takes one step of a `Follower`."""
    Follower(slow, fast)(tau)
