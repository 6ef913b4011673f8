"""MPO (Abdolmaleki et al. 2018; Furuta et al. 2021, sec. 4.2.1): expectation-maximisation with two trust regions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Generator, Tensor

from elites.agents.algorithm import Losses
from elites.agents.algorithms.duals import Duals, divergences, likelihood, temperature_loss, weights
from elites.agents.algorithms.q_learning import QLearning, QNets
from elites.agents.algorithms.stochastic import StochasticPolicy, valued
from elites.agents.estimates import retrace
from elites.agents.nets import Optimizer, Part
from elites.agents.network import MPONetwork, Network
from elites.agents.pace import Pace
from elites.agents.replay import Replay, Rows, Schema
from elites.agents.units import Spaces
from elites.fields import Count, Fraction, Positive, Rate
from elites.networks.action_distributions import NormalAction
from elites.networks.climbing import outside
from elites.networks.engine import Precision
from elites.networks.fitting import fit
from elites.networks.heads import NormalHead
from elites.networks.policies import Policy


class MPONets(QNets):
    policy: Policy
    duals: Duals


@dataclass(frozen=True)
class MPO(StochasticPolicy, QLearning):
    """The defaults are those of Furuta et al. and their code.

    The E-step weighs M actions of the old policy by their values, with a temperature whose dual keeps the weights
    within KL ε of the old policy. The M-step fits the policy to them, with the mean and the spread each in a trust
    region of its own. Both steps are at s', as in all published code, because the target has drawn the actions there.
    """

    random_steps = 0

    network: Network = MPONetwork()
    head: NormalHead = NormalHead("none", "state", 0.5, "softplus")
    pace: Pace = Pace(1, 8, 1000)
    batch: Count = 256
    critics: Count = 1
    tau: Rate = 1.0
    target_every: Count = 100
    actions: Count = 20  # M: actions of a state
    sampling: Precision = "fastest"  # number format of these actions' values, if the processor has it; else float32
    estimate: Literal["td", "retrace"] = "td"  # the target; both use n_step rewards
    trace: Fraction = 1.0  # λ of retrace
    epsilon: Positive = 0.1  # ε: bound of the E-step's KL
    epsilon_penalty: Positive = 1e-3  # the same for the weights by the distance from the box
    epsilon_mean: Positive = 1e-3  # bound of the mean's KL in the M-step, for each dimension
    epsilon_spread: Positive = 1e-6  # bound of the spread's KL
    dual_rate: Positive = 1e-2  # learning rate of all dual variables

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head.spread == "fixed":
            raise ValueError("MPO.head.spread: expected state or free, as the M-step learns the spread, got 'fixed'")

    def fault(self, nets: MPONets) -> str | None:
        return nets.duals.exploded()

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        policy = self.new_policy(spaces, rng, self.head, slow=True)
        penalty = {} if self.head.bounded else {"penalty": (1.0, 1)}
        duals = Part(Duals.of(spaces.action_size, rng.device, **penalty), Optimizer(self.dual_rate, clip=40.0))
        return {"critics": self.new_critics(spaces, rng), "policy": policy, "duals": duals}

    def schema(self, spaces: Spaces) -> Schema:
        return {**super().schema(spaces), "log_density": ()} if self.estimate == "retrace" else super().schema(spaces)

    def columns(self, nets: MPONets, action: Tensor) -> Mapping[str, Tensor]:
        """Random actions are uniform in [-1, 1]."""
        density = torch.full(action.shape[:1], -math.log(2.0) * action.shape[1], device=action.device)
        return {**super().columns(nets, action), "log_density": density}

    def explore(self, nets: MPONets, state: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        sample = nets.policy.sample_raw(state, nets.rng)
        return sample.action, {"raw_action": sample.raw, "log_density": sample.log_density}

    def drawn(self, nets: MPONets, state: Tensor) -> tuple[NormalAction, Tensor, Tensor]:
        """The slow policy at states (R, S), M of its raw actions (R, M, A), and their slow values (R, M)."""
        old = cast("NormalAction", nets.slow.policy.distribution(state))
        sample = old.repeated(self.actions).sample(nets.rng)
        raw, action = (x.view(len(state), self.actions, -1) for x in (sample.raw, valued(nets.policy, sample)))
        return old, raw, nets.slow.critics.least(state, action, self.sampling)

    def evaluated(self, nets: MPONets, data: Replay) -> tuple[Rows, Tensor, tuple[NormalAction, Tensor, Tensor]]:
        """A minibatch, its targets (R), and `drawn` at its next states."""
        if self.estimate == "retrace":
            return self.retraced(nets, data)
        batch = self.sample(nets, data)
        drawn = self.drawn(nets, batch.next_state)
        discount = self.discount if self.n_step == 1 else batch.discount
        return batch, batch.reward + discount * drawn[2].mean(-1) * ~batch.terminated, drawn

    def retraced(self, nets: MPONets, data: Replay) -> tuple[Rows, Tensor, tuple[NormalAction, Tensor, Tensor]]:
        """The same with Retrace's targets over n steps."""
        some = data.segments(self.batch, self.n_step, nets.rng)
        state, following, action, raw = (
            x.flatten(0, 1) for x in (some.state, some.next_state, valued(nets.policy, some), some.raw_action)
        )
        density = nets.slow.policy.distribution(state).log_density(raw).view(some.within.shape)
        q = nets.slow.critics.values(state, action).amin(0).view(some.within.shape)
        old, others, values = self.drawn(nets, following)
        following_value = values.mean(-1).view(some.within.shape)
        ratio = (density - some.log_density).exp()
        target = retrace(some, q, following_value, ratio, self.discount, self.trace)
        first = slice(None, None, self.n_step)
        normal = NormalAction(old.mean[first], old.log_std[first], old.squashed)
        return some.first, target, (normal, others[first], values[first])

    def update(self, nets: MPONets, data: Replay, step: int) -> Losses:
        """Furuta et al. 2021, sec. 4.1.1 and 4.2.1; Abdolmaleki et al. 2018, Algorithm 2."""
        with torch.no_grad():
            batch, target, (old, raw, values) = self.evaluated(nets, data)
        yield "critics", *fit(nets.critics, batch.state, valued(nets.policy, batch), target)

        weight = weights(nets.duals["temperature"], values)  # the E-step
        cost = -outside(raw)
        if not self.head.bounded:
            weight = weight + weights(nets.duals["penalty"], cost)
        new = cast("NormalAction", nets.policy.distribution(batch.next_state))  # the M-step
        kls = divergences(new, old)
        figures = {"temperature": nets.duals["temperature"].value.sum()}
        figures |= {"kl_mean": kls[0].sum(), "kl_spread": kls[1].sum()}
        yield "policy", likelihood(new, old, raw, weight) + nets.duals.penalty(kls), figures

        loss = temperature_loss(nets.duals["temperature"], values, self.epsilon)
        if not self.head.bounded:
            loss = loss + temperature_loss(nets.duals["penalty"], cost, self.epsilon_penalty)
        yield "duals", loss + nets.duals.trust_loss(kls, (self.epsilon_mean, self.epsilon_spread))
        if step % self.target_every == 0:
            nets.follow(self.tau)
