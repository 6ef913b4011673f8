"""AWAC (Nair et al. 2020; Furuta et al. 2021, sec. 4.2.2): regression on stored actions, weighted by advantage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from elites.agents.algorithm import Losses
from elites.agents.algorithms.q_learning import ActorCritic, QLearning
from elites.agents.algorithms.stochastic import StochasticPolicy, imitation, valued
from elites.agents.nets import Optimizer, Part
from elites.agents.network import Network
from elites.agents.replay import Replay, Rows
from elites.agents.units import Spaces
from elites.fields import Count, NonNegative, Positive
from elites.networks.architecture import Architecture
from elites.networks.fitting import fit
from elites.networks.heads import NormalHead

RATE = Optimizer(3e-4, decay=1e-4)


@dataclass(frozen=True)
class AWAC(StochasticPolicy, QLearning):
    """The defaults are those of Furuta et al. and their code: a tanh of the mean, and a free spread."""

    network: Network = Network(Architecture(), Architecture(), RATE, RATE)
    head: NormalHead = NormalHead("mean", "free", math.sqrt(math.log(2)))
    batch: Count = 256
    target_every: Count = 1
    temperature: Positive = 1.0  # λ: small values imitate the best actions alone
    largest: Positive = 20.0  # bound of the weights, whose mean is 1
    penalty: NonNegative = 10.0  # weight of the mean's distance from the box, for heads without a tanh

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        policy = self.new_policy(spaces, rng, self.head_for(spaces))
        return {"critics": self.new_critics(spaces, rng), "policy": policy}

    def update(self, nets: ActorCritic, data: Replay, step: int) -> Losses:
        """Nair et al. 2020, Algorithm 1."""
        batch = self.sample(nets, data)
        with torch.no_grad():
            following = nets.policy.sample_raw(batch.next_state, nets.rng)
            target = self.target(nets, batch, valued(nets.policy, following))
        yield "critics", *fit(nets.critics, batch.state, valued(nets.policy, batch), target)

        if step % self.policy_every == 0:
            weight = self.weights(nets, batch)
            loss = imitation(nets.policy, batch.state, batch.raw_action, weight, self.penalty)
            yield "policy", loss, {"largest_weight": weight.max()}
        if step % self.target_every == 0:
            nets.follow(self.tau)

    @torch.no_grad()
    def weights(self, nets: ActorCritic, batch: Rows) -> Tensor:
        """e^(A/λ) (R), normalised over the batch, with A = min Q(s, a) - min Q(s, ã) for an action ã of the policy."""
        own = nets.policy.sample_raw(batch.state, nets.rng)
        value = nets.critics.values(batch.state, valued(nets.policy, own)).amin(0)
        advantage = nets.critics.values(batch.state, valued(nets.policy, batch)).amin(0) - value
        return (len(advantage) * torch.softmax(advantage / self.temperature, 0)).clamp(max=self.largest)
