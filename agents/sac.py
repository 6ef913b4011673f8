"""Soft actor-critic (Haarnoja et al. 2018), with the temperature that keeps the policy's entropy at a target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from elites.agents.off_policy import Algorithm, Batch, Learned
from elites.fields import Count, Positive
from elites.networks.architecture import Architecture
from elites.networks.heads import NormalHead
from elites.networks.policies import Policy
from elites.spaces import Box


class SoftPolicy(Policy):
    """With the logarithm of its temperature α, which is learned along with it."""

    def __init__(self, state_size: int, box: Box, architecture: Architecture, rng: Generator) -> None:
        super().__init__(state_size, box, architecture, rng, NormalHead())
        self.log_temperature = nn.Parameter(torch.zeros((), device=rng.device))


@dataclass(frozen=True)
class SAC(Algorithm):
    """A value counts the entropy still to come: Q - α ln π. The target entropy is -A."""

    critic_rate: Positive = 3e-4
    policy_rate: Positive = 3e-4
    target_every: Count = 1

    def policy(self, state_size: int, box: Box, rng: Generator) -> SoftPolicy:
        return SoftPolicy(state_size, box, self.architecture, rng)

    def explore(self, learned: Learned, state: Tensor) -> Tensor:
        action: Tensor = learned.policy.sample(state, learned.rng)[0]
        return action

    def next_value(self, learned: Learned, state: Tensor) -> Tensor:
        """min_j Q'_j(s', a') - α ln π(a' | s') with a' ~ π, which has no slow copy here."""
        action, log_density = learned.policy.sample(state, learned.rng)
        bonus: Tensor = -learned.policy.log_temperature.exp() * log_density
        return learned.slow_critics.values(state, action).amin(0) + bonus

    def policy_loss(self, learned: Learned, batch: Batch) -> Tensor:
        """α ln π - min_j Q_j; and -ln α (ln π + target entropy), whose gradient is the temperature's alone."""
        state = batch["state"]
        action, log_density = learned.policy.sample(state, learned.rng)
        log_temperature = learned.policy.log_temperature
        value = learned.critics.values(state, action).amin(0)
        surplus = log_density.detach() - action.shape[-1]
        loss: Tensor = log_temperature.detach().exp() * log_density - value - log_temperature * surplus
        return loss.mean()
