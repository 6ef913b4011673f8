"""The base of algorithms that use every transition in one update, and then drop it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from elites.agents import batches
from elites.agents.algorithm import Loss
from elites.agents.algorithms.awr import ValuedPolicy
from elites.agents.algorithms.episodes import joined
from elites.agents.algorithms.stochastic import StochasticPolicy
from elites.agents.estimates import lambda_returns
from elites.agents.nets import Optimizer, Part
from elites.agents.network import Network
from elites.agents.pace import Pace
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Count, Fraction
from elites.networks.architecture import Architecture
from elites.networks.heads import NormalHead
from elites.networks.regression import regression

TANH = Architecture((64, 64), "tanh", "none", "orthogonal")
BEGINS_AT_0 = Architecture((64, 64), "tanh", "none", "orthogonal", last_scale=0.01)
RATE = Optimizer(3e-4, clip=0.5, epsilon=1e-5)


class Segment(NamedTuple):
    """The transitions since the last update, episode by episode."""

    state: Tensor  # (R, S)
    raw: Tensor  # (R, A)
    advantage: Tensor  # (R)
    target: Tensor  # (R): of the value

    def rows(self, rows: Tensor) -> Segment:
        return Segment(*(column[rows] for column in self))


@dataclass(frozen=True)
class OnPolicy(StochasticPolicy):
    """The defaults are those of Stable-Baselines3."""

    random_steps = 0
    on_policy = True

    network: Network = Network(BEGINS_AT_0, TANH, RATE, RATE)
    head: NormalHead = NormalHead("none", "free")
    pace: Pace = Pace(1, 2048)
    batch: Count = 64
    trace: Fraction = 0.95  # λ of the generalised advantages

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pace.updates > 1:
            raise ValueError(f"pace.updates: expected 1, as an update uses up its data, got {self.pace.updates}")

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        return {"value": self.new_value(spaces, rng), "policy": self.new_policy(spaces, rng, self.head_for(spaces))}

    @torch.no_grad()
    def segment(self, nets: ValuedPolicy, data: Replay) -> Segment:
        """Takes the data since the last update, with generalised advantages (Schulman et al. 2016, eq. 16)."""
        episodes = data.episodes()
        state, following, raw = joined(episodes, "state", "next_state", "raw_action")
        value, next_value = nets.value.values(state)[0], nets.value.values(following)[0]
        each = zip(episodes, torch.split(next_value, [e.length for e in episodes]), strict=True)
        target = torch.cat([lambda_returns(e, v, self.discount, self.trace) for e, v in each])
        data.drop()
        return Segment(state, raw, target - value, target)

    def value_losses(self, nets: ValuedPolicy, segment: Segment, epochs: int) -> Iterator[Loss]:
        """The regression of the value, in minibatches."""
        for rows in batches.epochs(len(segment.state), self.batch, epochs, nets.rng):
            yield self.value_loss(nets, segment.rows(rows))

    def value_loss(self, nets: ValuedPolicy, some: Segment) -> Loss:
        loss, figures = regression(nets.value.values(some.state), some.target)
        return "value", loss / 2, figures


def standardised(advantage: Tensor) -> Tensor:
    """With mean 0 and standard deviation 1."""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)
