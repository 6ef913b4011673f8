"""REINFORCE (Williams 1992): the policy gradient of whole episodes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from elites.agents.algorithm import Losses
from elites.agents.algorithms.episodes import joined, whole
from elites.agents.algorithms.on_policy import standardised
from elites.agents.algorithms.stochastic import PolicyNets, StochasticPolicy
from elites.agents.estimates import lambda_returns
from elites.agents.nets import Part
from elites.agents.network import Network
from elites.agents.pace import Pace
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Count
from elites.networks.architecture import Architecture
from elites.networks.heads import NormalHead


@dataclass(frozen=True)
class Reinforce(StochasticPolicy):
    """An update takes K episodes, and then drops them. Returns to go are standardised over all their steps."""

    random_steps = 0
    on_policy = True
    by_episode = True

    network: Network = Network.of(Architecture((64, 64), "tanh"), 3e-3)
    head: NormalHead = NormalHead("none", "free")
    pace: Pace = Pace(1, 1)
    episodes: Count = 10  # K

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        return {"policy": self.new_policy(spaces, rng, self.head_for(spaces))}

    def update(self, nets: PolicyNets, data: Replay, step: int) -> Losses:
        """∇J = E Σ (G_t - b) ∇ ln π(a_t|s_t), as soon as there are K episodes (Sutton and Barto 2018, sec. 13.4)."""
        played = whole(data, self.episodes)
        if not played:
            return
        state, raw = joined(played, "state", "raw_action")
        to_go = [lambda_returns(each, torch.zeros_like(each.reward), self.discount, 1.0) for each in played]
        data.drop()
        density = nets.policy.distribution(state).log_density(raw)
        yield "policy", -(standardised(torch.cat(to_go)) * density).mean()
