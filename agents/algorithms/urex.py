"""UREX (Nachum et al. 2017): REINFORCE, and a term that explores rewards that the policy makes too little of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from elites.agents.algorithm import Losses
from elites.agents.algorithms.episodes import joined, whole
from elites.agents.algorithms.stochastic import PolicyNets, StochasticPolicy
from elites.agents.nets import Part
from elites.agents.network import Network
from elites.agents.pace import Pace
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Count, NonNegative, Positive
from elites.networks.architecture import Architecture
from elites.networks.heads import NormalHead


@dataclass(frozen=True)
class UREX(StochasticPolicy):
    """An update takes K episodes, which share one context: the environment's beginning. weight=0 is REINFORCE.

    An episode's importance weight is a softmax over the K episodes of R/τ - ln π. It is large for episodes whose return
    is high for their likelihood.
    """

    random_steps = 0
    on_policy = True
    by_episode = True

    network: Network = Network.of(Architecture((64, 64), "tanh"), 3e-3)
    head: NormalHead = NormalHead("none", "free")
    pace: Pace = Pace(1, 1)
    episodes: Count = 10  # K: episodes of a context
    temperature: Positive = 0.1  # τ, in units of `scale`
    scale: Positive = 1.0  # returns are divided by it
    weight: NonNegative = 1.0  # factor of the exploring term

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        return {"policy": self.new_policy(spaces, rng, self.head_for(spaces))}

    def update(self, nets: PolicyNets, data: Replay, step: int) -> Losses:
        """Eq. 12 of Nachum et al., as soon as there are K episodes."""
        played = whole(data, self.episodes)
        if not played:
            return
        returns = torch.stack([episode.reward.sum() for episode in played]) / self.scale
        lengths = [episode.length for episode in played]
        state, raw = joined(played, "state", "raw_action")
        density = nets.policy.distribution(state).log_density(raw)
        density = torch.stack([part.sum() for part in torch.split(density, lengths)])  # ln π of whole episodes
        share = self.shares(returns, density.detach())
        data.drop()
        centred = returns - returns.mean()
        loss = -(centred * density).mean() - self.weight * self.temperature * (share * density).sum()
        yield "policy", loss, {"largest_share": share.max()}

    def shares(self, returns: Tensor, density: Tensor) -> Tensor:
        """The self-normalised importance weights (K) of eq. 11."""
        return torch.softmax(returns / self.temperature - density, 0)
