"""Slow copies of networks, by which targets are made."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def slow_copy(module: Network) -> Network:
    """A target network, which no gradient reaches; `follow` moves it."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, tau: float) -> None:
    """slow ← slow + τ (fast - slow); buffers, such as a normalizer, are taken over."""
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), tau)
    for mine, theirs in zip(slow.buffers(), fast.buffers(), strict=True):
        mine.copy_(theirs)
