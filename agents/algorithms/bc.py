"""Behaviour cloning: plain regression on stored actions, to compare offline agents with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator

from elites.agents.algorithm import Losses
from elites.agents.algorithms.stochastic import PolicyNets, StochasticPolicy
from elites.agents.nets import Part
from elites.agents.network import Network
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Count
from elites.networks.architecture import Architecture
from elites.networks.heads import NormalHead


@dataclass(frozen=True)
class BC(StochasticPolicy):
    """The likeliest policy for the stored actions. With the fixed spread of the default it is least squares."""

    random_steps = 0

    network: Network = Network.of(Architecture((256, 256)), 3e-4)
    head: NormalHead = NormalHead("mean", "fixed", 0.1)
    batch: Count = 256

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        return {"policy": self.new_policy(spaces, rng, self.head_for(spaces))}

    def update(self, nets: PolicyNets, data: Replay, step: int) -> Losses:
        batch = data.sample(self.batch, nets.rng)
        yield "policy", -nets.policy.distribution(batch.state).log_density(batch.raw_action).mean()
