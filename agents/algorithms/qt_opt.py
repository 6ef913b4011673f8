"""Qt-Opt (Kalashnikov et al. 2018), the CGP paper's CEM-only baseline: the policy is a search over Q."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from elites.agents.algorithm import Losses
from elites.agents.algorithms.q_learning import QNets
from elites.agents.algorithms.searched import Searched
from elites.agents.nets import Part
from elites.agents.replay import Replay
from elites.agents.units import Spaces


@dataclass(frozen=True)
class QtOpt(Searched):
    """Q-learning without a policy network."""

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        return {"critics": self.searchable_critics(spaces, rng)}

    def exploit(self, nets: QNets, state: Tensor) -> Tensor:
        return self.best(nets.critics, nets, state)

    def update(self, nets: QNets, data: Replay, step: int) -> Losses:
        batch = self.sample(nets, data)
        yield self.critics_loss(nets, batch, self.following(nets, batch))
        if step % self.target_every == 0:
            nets.follow(self.tau)
