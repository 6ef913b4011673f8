"""DSPG (Deep Soft Policy Gradient): maximum entropy by the score function, with two rounds of sampling."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from elites.agents.algorithm import Losses
from elites.agents.algorithms.q_learning import ActorCritic, QLearning
from elites.agents.algorithms.stochastic import StochasticPolicy, valued
from elites.agents.nets import Optimizer, Part
from elites.agents.network import Network
from elites.agents.pace import Pace
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Count, Positive, Rate
from elites.networks.architecture import Architecture
from elites.networks.critics import Critics
from elites.networks.engine import Precision
from elites.networks.fitting import fit
from elites.networks.heads import NormalHead
from elites.networks.policies import Policy

WIDE = Architecture((512, 512))


@dataclass(frozen=True)
class DSPG(StochasticPolicy, QLearning):
    """The defaults are the paper's (App. A); `clip` is its N for Ant and Walker2d.

    Its code squashes actions: `head.bound=sample`. Target (15) prints Q^ω, eq. 16 and the code have the slow Q^ω', as
    here.
    """

    random_steps = 0

    network: Network = Network(WIDE, WIDE, Optimizer(5e-5), Optimizer(5e-4))
    head: NormalHead = NormalHead("none", "state", 0.5, "sigmoid")
    capacity: Count = 3_000_000
    pace: Pace = Pace(4, 1, 100)
    batch: Count = 100
    critics: Count = 1
    tau: Rate = 0.01
    target_every: Count = 1
    actions: Count = 64  # M: actions of a state
    sampling: Precision = "fastest"  # number format of these actions' values, if the processor has it; else float32
    clip: Positive = 5.0  # N: the largest norm of the policy's gradient
    reward_scale: Positive = 5.0  # the inverse of the temperature

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        policy = self.new_policy(spaces, rng, self.head_for(spaces), slow=True)
        clipped = replace(policy, optimizer=replace(self.network.policy_optimizer, clip=self.clip))
        return {"critics": self.new_critics(spaces, rng), "policy": clipped}

    def update(self, nets: ActorCritic, data: Replay, step: int) -> Losses:
        """Algorithm 1."""
        batch = self.sample(nets, data)
        with torch.no_grad():  # eq. 15
            _, density, values = self.drawn(nets.slow.policy, nets.slow.critics, batch.next_state, nets.rng)
            discount = self.discount if self.n_step == 1 else batch.discount
            target = batch.reward + discount * (values - density).mean(-1) * ~batch.terminated
        yield "critics", *fit(nets.critics, batch.state, valued(nets.policy, batch), target)

        if step % self.policy_every == 0:
            yield "policy", self.policy_loss(nets.policy, nets.critics, batch.state, nets.rng)
        if step % self.target_every == 0:
            nets.follow(self.tau)

    def policy_loss(self, policy: Policy, critics: Critics, state: Tensor, rng: Generator) -> Tensor:
        """Its gradient is minus eq. 17: the mean of (Q - ln π - 1) ∇ ln π, with no gradient through the actions."""
        with torch.no_grad():
            raw, density, values = self.drawn(policy, critics, state, rng)
        again = policy.distribution(state).repeated(self.actions).log_density(raw)
        return -((values - density - 1).flatten() * again).mean()

    def drawn(self, policy: Policy, critics: Critics, state: Tensor, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """M actions of every state: raw actions (R · M, A), their log densities (R, M) and their values (R, M)."""
        sample = policy.distribution(state).repeated(self.actions).sample(rng)
        shape = (len(state), self.actions)
        values = critics.least(state, valued(policy, sample).view(*shape, -1), self.sampling)
        return sample.raw, sample.log_density.view(shape), values
