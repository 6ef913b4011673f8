"""CGP (Simmons-Edler et al. 2019): Q-learning by a search over Q, and a policy network that imitates the search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Generator, Tensor

from elites.agents.algorithm import Losses
from elites.agents.q_learning import ActorCritic
from elites.agents.replay import Replay, Rows
from elites.agents.searched import Searched
from elites.agents.units import Spaces


@dataclass(frozen=True)
class CGP(Searched):
    """Data and targets are πCEM's; π is for inference.

    mode: `online`, the policy learns along with Q; `offline`, after it.
    """

    mode: Literal["online", "offline"] = "online"

    def build(self, spaces: Spaces, rng: Generator) -> ActorCritic:
        parts = {"critics": self.new_critics(spaces, rng), "policy": self.new_policy(spaces, rng)}
        return ActorCritic(spaces, rng, parts)

    def exploit(self, nets: ActorCritic, state: Tensor) -> Tensor:
        return nets.policy.action(state)

    def policy_loss(self, nets: ActorCritic, batch: Rows) -> Tensor:
        """‖π(s) - πCEM(s)‖²."""
        found = self.best(nets.critics, nets, batch.state)
        return (nets.policy.action(batch.state) - found).square().sum(-1).mean()

    def update(self, nets: ActorCritic, data: Replay, step: int) -> Losses:
        """Algorithm 2."""
        batch = data.sample(self.batch, nets.rng)
        yield self.critics_loss(nets, batch)
        if self.mode == "online" and step % self.policy_every == 0:
            yield "policy", self.policy_loss(nets, batch)
        if step % self.target_every == 0:
            nets.follow(self.tau)

    def finishing(self, updates: int) -> int:
        """As many updates of a policy that has waited as it would have had."""
        return max(1, updates // self.policy_every) if self.mode == "offline" else 0

    def finish(self, nets: ActorCritic, data: Replay, step: int) -> Losses:
        yield "policy", self.policy_loss(nets, data.sample(self.batch, nets.rng))
