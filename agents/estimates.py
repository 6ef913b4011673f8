"""Estimates of the return, from what came after a step of an episode."""

from __future__ import annotations

import torch
from torch import Tensor

from elites.agents.replay import Episode


def lambda_returns(episode: Episode, next_value: Tensor, discount: float, trace: float) -> Tensor:
    """TD(λ)'s targets (T), next_value (T) being V of the states after: Gₜ = rₜ + γ ((1 - λ) Vₜ₊₁ + λ Gₜ₊₁).

    A terminal state is worth 0. After the last step that is held, G is V. (Sutton and Barto 2018, eq. 12.18.)
    """
    value = torch.where(episode.terminated, 0, next_value)
    following = value[-1].item()
    returns = []
    # a recursion over numbers: floats take a tenth of the time of tensors
    for reward, worth in zip(reversed(episode.reward.tolist()), reversed(value.tolist()), strict=True):
        following = reward + discount * ((1 - trace) * worth + trace * following)
        returns.append(following)
    return value.new_tensor(returns[::-1])
