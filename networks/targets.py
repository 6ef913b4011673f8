"""Slow copies of networks, by which targets are made."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from elites.networks.descent import Following

Network = TypeVar("Network", bound=nn.Module)


def slow_copy(module: Network) -> Network:
    """A target network, which no gradient reaches; `Follower` moves it."""
    return copy.deepcopy(module).requires_grad_(False)


class Follower:
    """slow ← slow + τ (fast - slow); buffers, such as a normalizer, are taken over."""

    def __init__(self, slow: nn.Module, fast: nn.Module) -> None:
        self.parameters = Following(list(slow.parameters()), list(fast.parameters()))
        self.buffers = list(zip(slow.buffers(), fast.buffers(), strict=True))

    @torch.no_grad()
    def __call__(self, tau: float) -> None:
        self.parameters.step(tau)
        for mine, theirs in self.buffers:
            mine.copy_(theirs)


def follow(slow: nn.Module, fast: nn.Module, tau: float) -> None:
    """A `Follower`'s step."""
    Follower(slow, fast)(tau)
