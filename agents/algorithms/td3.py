"""TD3 (Fujimoto et al. 2018): twin critics, smoothed targets, and a policy that is updated less often."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from elites.agents.algorithm import Losses
from elites.agents.algorithms.q_learning import ActorCritic, DeterministicPolicy, smoothed
from elites.agents.replay import Replay
from elites.fields import Count, NonNegative
from elites.networks.climbing import climb
from elites.networks.fitting import fit


@dataclass(frozen=True)
class TD3(DeterministicPolicy):
    """Twin critics, smoothed targets and a delayed policy. All noise is in half widths of the box."""

    policy_every: Count = 2  # updates of the critics for one update of the policy
    policy_noise: NonNegative = 0.2  # spread of the noise on the targets' actions
    noise_clip: NonNegative = 0.5  # bound of this noise

    def update(self, nets: ActorCritic, data: Replay, step: int) -> Losses:
        """Algorithm 1. A terminated episode has no future value; a truncated one has (CGP, App. C)."""
        batch = self.sample(nets, data)
        with torch.no_grad():
            next_action = smoothed(nets.slow.policy.action(batch.next_state), nets, self.policy_noise, self.noise_clip)
            target = self.target(nets, batch, next_action)
        yield "critics", *fit(nets.critics, batch.state, batch.action, target)

        if step % self.policy_every == 0:
            yield "policy", climb(nets.policy, nets.critics, batch.state)
        if step % self.target_every == 0:
            nets.follow(self.tau)
