"""Estimates of the return after each step of an episode."""

from __future__ import annotations

import torch
from torch import Tensor

from elites.agents.replay import Episode


def lambda_returns(episode: Episode, next_value: Tensor, discount: float, trace: float) -> Tensor:
    """TD(λ)'s targets (T): Gₜ = rₜ + γ ((1 - λ) Vₜ₊₁ + λ Gₜ₊₁) (Sutton and Barto 2018, eq. 12.18).

    next_value (T) is V of the next states. A terminal state has value 0. After the last step, G is V.
    """
    value = torch.where(episode.terminated, 0, next_value)
    following = value[-1].item()
    returns = []
    # a recursion over numbers: floats are ten times as fast as tensors
    for reward, worth in zip(reversed(episode.reward.tolist()), reversed(value.tolist()), strict=True):
        following = reward + discount * ((1 - trace) * worth + trace * following)
        returns.append(following)
    return value.new_tensor(returns[::-1])
