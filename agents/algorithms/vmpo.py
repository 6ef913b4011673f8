"""V-MPO (Song et al. 2020): MPO on policy, with a value function and the better half of the advantages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Generator, Tensor

from elites.agents import batches
from elites.agents.algorithm import Losses
from elites.agents.algorithms.awr import ValuedPolicy
from elites.agents.algorithms.duals import Duals, divergences
from elites.agents.algorithms.on_policy import OnPolicy, Segment
from elites.agents.nets import Optimizer, Part
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Count, Fraction, Positive
from elites.networks.action_distributions import NormalAction
from elites.networks.heads import Head, NormalHead


class VMPONets(ValuedPolicy):
    duals: Duals


@dataclass(frozen=True)
class VMPO(OnPolicy):
    """The old policy is the one that collected the segment. trace=1 gives the returns of n steps, up to its end."""

    head: NormalHead = NormalHead("none", "state", 0.5, "softplus")
    trace: Fraction = 1.0
    epochs: Count = 10  # passes over a segment
    epsilon: Positive = 0.1  # ε_η: bound of the temperature's KL
    epsilon_mean: Positive = 0.01  # bound of the mean's KL in the M-step, for each dimension
    epsilon_spread: Positive = 1e-4  # bound of the spread's KL
    dual_rate: Positive = 1e-2  # learning rate of all dual variables

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head.spread == "fixed":
            raise ValueError("VMPO.head.spread: expected state or free, as the M-step learns the spread, got 'fixed'")

    def head_for(self, spaces: Spaces) -> Head:
        """A normal, of which the trust regions are."""
        return self.head

    def fault(self, nets: VMPONets) -> str | None:
        return nets.duals.exploded()

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        duals = Part(Duals.of(spaces.action_size, rng.device), Optimizer(self.dual_rate))
        return super().parts(spaces, rng) | {"duals": duals}

    def update(self, nets: VMPONets, data: Replay, step: int) -> Losses:
        """Sec. 4 and Algorithm 1."""
        segment = self.segment(nets, data)
        with torch.no_grad():
            before = cast("NormalAction", nets.policy.distribution(segment.state))
        for rows in batches.epochs(len(segment.state), self.batch, self.epochs, nets.rng):
            some, old = segment.rows(rows), before.rows(rows)
            best, weight = self.weights(nets, some)
            new = cast("NormalAction", nets.policy.distribution(some.state))
            kls = divergences(new, old)
            likely = -(weight * new.rows(best).log_density(some.raw[best])).sum()
            yield "policy", likely + nets.duals.penalty(kls), {"kl_mean": kls[0].sum(), "kl_spread": kls[1].sum()}

            loss = self.temperature_loss(nets, some.advantage[best])
            yield "duals", loss + nets.duals.trust_loss(kls, (self.epsilon_mean, self.epsilon_spread))
            yield self.value_loss(nets, some)

    def weights(self, nets: VMPONets, some: Segment) -> tuple[Tensor, Tensor]:
        """Eq. 3: the rows of the better half of the advantages, and their softmax under one temperature."""
        best = some.advantage.topk(max(1, len(some.advantage) // 2)).indices
        return best, torch.softmax(some.advantage[best] / nets.duals["temperature"].value, 0)

    def temperature_loss(self, nets: VMPONets, advantage: Tensor) -> Tensor:
        """Eq. 4: η ε + η ln mean e^(A/η) over the better half."""
        eta = nets.duals["temperature"].learned()
        return (eta * (self.epsilon + torch.logsumexp(advantage / eta, 0) - math.log(len(advantage)))).sum()
