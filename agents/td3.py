"""Deterministic policies by the gradient of Q: DDPG (Lillicrap et al. 2016) and TD3 (Fujimoto et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from elites.agents.off_policy import Algorithm, Batch, Learned
from elites.fields import Count, NonNegative


@dataclass(frozen=True)
class TD3(Algorithm):
    """Twin critics of which the lesser counts, noise on the target's action, and a policy that is updated less often.

    The noises are in half widths of the box.
    """

    slow_policy = True
    policy_every: Count = 2
    exploration_noise: NonNegative = 0.1
    policy_noise: NonNegative = 0.2
    noise_clip: NonNegative = 0.5

    def explore(self, learned: Learned, state: Tensor) -> Tensor:
        action: Tensor = learned.policy.action(state)
        return (action + self.exploration_noise * noise_for(action, learned)).clamp(-1, 1)

    def next_value(self, learned: Learned, state: Tensor) -> Tensor:
        """min_j Q'_j(s', π'(s') + clipped noise)."""
        action = smoothed(learned.slow_policy.action(state), learned, self.policy_noise, self.noise_clip)
        return learned.slow_critics.values(state, action).amin(0)

    def policy_loss(self, learned: Learned, batch: Batch) -> Tensor:
        return climbing(learned, batch["state"])


@dataclass(frozen=True)
class DDPG(TD3):
    """The same with one critic, no noise on the target, and a policy that is updated every time."""

    critics: Count = 1
    policy_every: Count = 1
    target_every: Count = 1
    policy_noise: NonNegative = 0.0


def noise_for(action: Tensor, learned: Learned) -> Tensor:
    """Standard normal, of the action's shape (R, A)."""
    return torch.randn(action.shape, generator=learned.rng, device=action.device)


def smoothed(action: Tensor, learned: Learned, spread: float, clip: float) -> Tensor:
    """An action of the target with clipped noise (TD3, eq. 14)."""
    if spread == 0:
        return action
    return (action + (spread * noise_for(action, learned)).clamp(-clip, clip)).clamp(-1, 1)


def climbing(learned: Learned, state: Tensor) -> Tensor:
    """-Q_1(s, π(s)): the loss of a policy that climbs Q."""
    return -learned.critics.values(state, learned.policy.action(state))[0].mean()
