"""REPS (Peters et al. 2010): a softmax policy, weighted by the advantages of a value that the dual function finds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from elites.agents import batches
from elites.agents.algorithm import Losses
from elites.agents.algorithms.episodes import joined
from elites.agents.algorithms.features import RandomFeatures
from elites.agents.algorithms.stochastic import PolicyNets, StochasticPolicy
from elites.agents.nets import Part
from elites.agents.network import Network
from elites.agents.pace import Pace
from elites.agents.replay import Replay
from elites.agents.units import Spaces
from elites.fields import Count, Positive
from elites.networks.architecture import Architecture
from elites.networks.heads import NormalHead


class LinearValue(nn.Module):
    """V(s) = θ·φ(s), and ln η of the temperature."""

    def __init__(self, features: RandomFeatures) -> None:
        super().__init__()
        self.features = features
        device = features.phase.device
        self.theta = nn.Parameter(torch.zeros(features.count, device=device), requires_grad=False)
        self.log_eta = nn.Parameter(torch.zeros(1, device=device), requires_grad=False)


class REPSNets(PolicyNets):
    value: LinearValue


@dataclass(frozen=True)
class REPS(StochasticPolicy):
    """On policy: the prior is the policy before. Episodes end, so the dual has their first states besides.

    Peters et al. maximise the average reward; this is the discounted form (van Hoof et al. 2017, eq. 9).
    """

    random_steps = 0
    on_policy = True

    network: Network = Network.of(Architecture((64, 64), "tanh"), 1e-3)
    head: NormalHead = NormalHead("none", "free")
    pace: Pace = Pace(1, 1000)
    batch: Count = 64
    features: Count = 100  # random features of the value
    kernel_width: Positive = 2.0  # of their kernel, in spreads of the states
    epsilon: Positive = 0.5  # ε: bound of the KL divergence from the policy before
    ridge: Positive = 1e-4  # weight of |θ|² in the dual
    dual_steps: Count = 100  # steps of L-BFGS for the dual
    epochs: Count = 20  # passes over a segment for the policy

    def parts(self, spaces: Spaces, rng: Generator) -> dict[str, Part]:
        features = RandomFeatures(spaces.state_size, self.features, self.kernel_width, rng)
        policy = self.new_policy(spaces, rng, self.head_for(spaces))
        return {"policy": policy, "value": Part(LinearValue(features), None)}

    def update(self, nets: REPSNets, data: Replay, step: int) -> Losses:
        """Table 1 of Peters et al.: the dual finds η and θ; then weighted likelihood."""
        episodes = data.episodes()
        columns = ("state", "next_state", "raw_action", "reward", "terminated")
        state, following, raw, reward, terminated = joined(episodes, *columns)
        first = torch.cat([episode.state[:1] for episode in episodes])
        data.drop()
        features = nets.value.features
        features.standardise(state)
        now, then = features(state), features(following) * ~terminated.unsqueeze(-1)
        change = self.discount * then - now
        start = (1 - self.discount) * features(first).mean(0)
        nets.set("value", self.solved(nets, change, reward, start))

        advantage = reward + change @ nets.value.theta
        weight = torch.softmax(advantage / nets.value.log_eta.exp(), 0) * len(advantage)
        figures = {"temperature": nets.value.log_eta.exp().sum(), "largest_weight": weight.max()}
        for rows in batches.epochs(len(state), self.batch, self.epochs, nets.rng):
            density = nets.policy.distribution(state[rows]).log_density(raw[rows])
            yield "policy", -(weight[rows] * density).mean(), figures

    def dual(self, theta: Tensor, log_eta: Tensor, change: Tensor, reward: Tensor, start: Tensor) -> Tensor:
        """g(η, θ) = η ε + θ·start + η ln mean e^(δ/η), with δ = r + θ·(γ φ(s') - φ(s))."""
        eta, error = log_eta.exp(), reward + change @ theta
        soft = torch.logsumexp(error / eta, 0) - math.log(len(error))
        return (eta * (self.epsilon + soft)).sum() + start @ theta + self.ridge * theta.square().sum()

    def solved(self, nets: REPSNets, change: Tensor, reward: Tensor, start: Tensor) -> Tensor:
        """The minimum of the dual from the last one on: θ and ln η, as one vector."""
        if not reward.isfinite().all():  # L-BFGS would raise an error that names no cause
            return torch.full((len(start) + 1,), torch.nan, device=start.device)
        with torch.enable_grad():
            theta = nets.value.theta.detach().clone().requires_grad_()
            log_eta = nets.value.log_eta.detach().clone().requires_grad_()
            optimizer = torch.optim.LBFGS([theta, log_eta], 1.0, self.dual_steps, line_search_fn="strong_wolfe")

            def closure() -> Tensor:
                optimizer.zero_grad()
                value = self.dual(theta, log_eta, change, reward, start)
                value.backward()  # type: ignore[no-untyped-call]
                return value

            optimizer.step(closure)  # type: ignore[no-untyped-call]
        return torch.cat([theta, log_eta]).detach()
