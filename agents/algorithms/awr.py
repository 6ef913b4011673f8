"""AWR (Peng et al. 2019; Furuta et al. 2021, sec. 4.2.2): regression on the replay's actions, weighted by advantage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from elites.agents import batches
from elites.agents.algorithm import Losses
from elites.agents.algorithms.episodes import ended, joined
from elites.agents.algorithms.stochastic import PolicyNets, StochasticPolicy, imitation
from elites.agents.estimates import lambda_returns
from elites.agents.nets import Part
from elites.agents.network import AWRNetwork, Network
from elites.agents.pace import Pace
from elites.agents.replay import Episode, Replay
from elites.agents.units import Spaces
from elites.fields import Count, Fraction, NonNegative, Positive
from elites.networks.critics import Value
from elites.networks.heads import NormalHead
from elites.networks.regression import regression


class ValuedPolicy(PolicyNets):
    value: Value


@dataclass(frozen=True)
class AWR(StochasticPolicy):
    """An update is an iteration of Algorithm 1. It learns from whole episodes: those that have ended.

    `value_steps` and `policy_steps` are steps of descent for 2048 new transitions, as in the authors' code.
    """

    random_steps = 0
    by_episode = True

    network: Network = AWRNetwork()
    head: NormalHead = NormalHead("none", "fixed", 0.4)
    capacity: Count = 50_000
    pace: Pace = Pace(1, 2048)
    batch: Count = 256
    trace: Fraction = 0.95  # λ of TD(λ)
    temperature: Positive = 1.0  # β: the weights are e^(A/β), with A standardised over the buffer
    largest: Positive = 20.0  # bound of the weights
    value_steps: Count = 200
    policy_steps: Count = 1000
    penalty: NonNegative = 10.0  # weight of the mean's distance from the box

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        return {"value": self.new_value(spaces, rng), "policy": self.new_policy(spaces, rng, self.head_for(spaces))}

    def update(self, nets: ValuedPolicy, data: Replay, step: int) -> Losses:
        """Algorithm 1 of Peng et al."""
        episodes = ended(data)
        if not episodes:
            return
        state, raw = joined(episodes, "state", "raw_action")
        steps = self.pace.every / 2048

        target = self.targets(nets, episodes)
        for rows in batches.steps(len(state), self.batch, math.ceil(self.value_steps * steps), nets.rng):
            loss, figures = regression(nets.value.values(state[rows]), (1 - self.discount) * target[rows])
            yield "value", loss / 2, figures

        weight = self.weights(self.targets(nets, episodes) - self.values(nets, state))
        for rows in batches.steps(len(state), self.batch, math.ceil(self.policy_steps * steps), nets.rng):
            loss = imitation(nets.policy, state[rows], raw[rows], weight[rows], self.penalty)
            yield "policy", loss, {"weight": weight.mean()}

    @torch.no_grad()
    def values(self, nets: ValuedPolicy, state: Tensor) -> Tensor:
        """V (R). The network's outputs are (1 - γ) V, which have the size of rewards."""
        return nets.value.values(state)[0] / (1 - self.discount)

    def targets(self, nets: ValuedPolicy, episodes: list[Episode]) -> Tensor:
        """TD(λ)'s returns of all steps."""
        following = self.values(nets, *joined(episodes, "next_state"))
        each = zip(episodes, torch.split(following, [e.length for e in episodes]), strict=True)
        return torch.cat([lambda_returns(e, value, self.discount, self.trace) for e, value in each])

    def weights(self, advantage: Tensor) -> Tensor:
        std, mean = torch.std_mean(advantage, correction=0)
        return ((advantage - mean) / (std + 1e-5) / self.temperature).exp().clamp(max=self.largest)
