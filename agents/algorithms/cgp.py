"""CGP (Simmons-Edler et al. 2019): Q-learning by a search over Q, and a policy network that imitates the search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Generator, Tensor

from elites.agents.algorithm import Losses
from elites.agents.algorithms.q_learning import ActorCritic
from elites.agents.algorithms.searched import Searched
from elites.agents.nets import Part
from elites.agents.replay import Replay, Rows
from elites.agents.units import Spaces
from elites.networks.heads import head_for
from elites.spaces import Choices


@dataclass(frozen=True)
class CGP(Searched):
    """The search πCEM collects data and makes targets. The policy π is for inference.

    mode: `online` trains the policy together with Q. `offline` trains it after Q. search_for: the search that π
    imitates. `policy` is a search of its own at s over Q_1, as in the paper. `target` is the target's search at s' over
    Q'_1, which every update makes already.
    """

    mode: Literal["online", "offline"] = "online"
    search_for: Literal["policy", "target"] = "policy"

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        return {
            "critics": self.searchable_critics(spaces, rng),
            "policy": self.new_policy(spaces, rng, head_for(spaces.world)),
        }

    def exploit(self, nets: ActorCritic, state: Tensor) -> Tensor:
        return nets.policy.action(state)

    def policy_loss(self, nets: ActorCritic, batch: Rows, following: Tensor | None = None) -> Tensor:
        """‖π(s) - πCEM(s)‖², or -ln π(πCEM(s) | s) for choices. If `following` is given, it is πCEM(s') at s'."""
        if following is None:
            state, found = batch.state, self.best(nets.critics, nets, batch.state)
        else:
            state, found = batch.next_state, following
        if isinstance(nets.spaces.action, Choices):
            return -nets.policy.distribution(state).log_density(found).mean()
        return (nets.policy.action(state) - found).square().sum(-1).mean()

    def update(self, nets: ActorCritic, data: Replay, step: int) -> Losses:
        """Algorithm 2."""
        batch = self.sample(nets, data)
        following = self.following(nets, batch)
        yield self.critics_loss(nets, batch, following)
        if self.mode == "online" and step % self.policy_every == 0:
            yield "policy", self.policy_loss(nets, batch, following if self.search_for == "target" else None)
        if step % self.target_every == 0:
            nets.follow(self.tau)

    def finishing(self, updates: int) -> int:
        """Offline, the policy gets as many updates as it would have online."""
        return max(1, updates // self.policy_every) if self.mode == "offline" else 0

    def finish(self, nets: ActorCritic, data: Replay, step: int) -> Losses:
        batch = self.sample(nets, data)
        yield (
            "policy",
            self.policy_loss(nets, batch, self.following(nets, batch) if self.search_for == "target" else None),
        )
