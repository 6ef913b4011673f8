"""DDPG (Lillicrap et al. 2016): a deterministic policy that climbs one Q-function."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from elites.agents.algorithm import Losses
from elites.agents.algorithms.q_learning import ActorCritic, DeterministicPolicy
from elites.agents.replay import Replay
from elites.fields import Count
from elites.networks.climbing import climb
from elites.networks.fitting import fit


@dataclass(frozen=True)
class DDPG(DeterministicPolicy):
    """A deterministic policy that climbs one Q-function. The noise is normal as in TD3, in half widths of the box."""

    critics: Count = 1
    target_every: Count = 1

    def update(self, nets: ActorCritic, data: Replay, step: int) -> Losses:
        """Algorithm 1."""
        batch = self.sample(nets, data)
        with torch.no_grad():
            target = self.target(nets, batch, nets.slow.policy.action(batch.next_state))
        yield "critics", *fit(nets.critics, batch.state, batch.action, target)

        if step % self.policy_every == 0:
            yield "policy", climb(nets.policy, nets.critics, batch.state)
        if step % self.target_every == 0:
            nets.follow(self.tau)
