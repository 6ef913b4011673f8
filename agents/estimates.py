"""Estimates of the return after each step of an episode."""

from __future__ import annotations

import torch
from torch import Tensor

from elites.agents.replay import Episode, Segments


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


def advantages(episode: Episode, value: Tensor, next_value: Tensor, discount: float, trace: float) -> Tensor:
    """Generalised advantages (T): Σₖ (γλ)ᵏ δₜ₊ₖ (Schulman et al. 2016, eq. 16). They are TD(λ)'s targets minus V."""
    return lambda_returns(episode, next_value, discount, trace) - value


def retrace(segments: Segments, q: Tensor, next_value: Tensor, ratio: Tensor, discount: float, trace: float) -> Tensor:
    """Retrace(λ)'s targets of the first transitions (R) (Munos et al. 2016, eqs. 3 and 4).

    q, ratio (R, L): Q(s, a), and π(a|s) / μ(a|s) for the policy μ that acted. next_value (R, L): the mean of Q at the
    next state under π. It is the recursion Gₜ = rₜ + γ (Vₜ₊₁ + cₜ₊₁ (Gₜ₊₁ - Qₜ₊₁)), with c = λ min(1, ratio).
    """
    within, length = segments.within, segments.within.shape[1]
    bootstrapped = segments.reward + discount * torch.where(segments.terminated, 0, next_value)
    trust = trace * ratio.clamp(max=1)
    found = bootstrapped[:, -1]
    for t in range(length - 2, -1, -1):
        correction = torch.where(within[:, t + 1], trust[:, t + 1] * (found - q[:, t + 1]), 0)
        found = bootstrapped[:, t] + discount * correction
    return found
