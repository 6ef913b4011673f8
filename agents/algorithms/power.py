"""PoWER (Kober and Peters 2008): a policy that is linear in features, fitted to its best episodes in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from elites.agents.algorithm import Algorithm, Losses
from elites.agents.algorithms.episodes import ended, joined
from elites.agents.algorithms.features import RadialFeatures
from elites.agents.estimates import lambda_returns
from elites.agents.nets import Nets, Part
from elites.agents.pace import Pace
from elites.agents.replay import Episode, Replay, Schema, transitions
from elites.agents.units import Spaces
from elites.fields import Count, Fraction, Positive


class LinearPolicy(nn.Module):
    """a = (θ + ε)·φ(s) with ε ~ N(0, σ²): a normal N(θ·φ, σ² |φ|²), whose spread depends on the state."""

    def __init__(self, features: RadialFeatures, actions: int, std: float) -> None:
        super().__init__()
        device = features.centres.device
        self.features = features
        self.theta = nn.Parameter(torch.zeros(features.count, actions, device=device), requires_grad=False)
        self.std = nn.Parameter(torch.full((actions,), std, device=device), requires_grad=False)

    def mean(self, state: Tensor) -> Tensor:
        mean: Tensor = self.features(state) @ self.theta
        return mean


class PowerNets(Nets):
    policy: LinearPolicy


@dataclass(frozen=True)
class PoWER(Algorithm):
    """Rewards become positive: e^(r / reward_scale). Their sum to come, Q, is the weight of an action itself.

    An update learns from the `best` episodes of the replay, which is the paper's importance sampler (Algorithm 1).
    Where episodes begin at random, take all of them: the best ones are those that began well. The first update needs
    many episodes, because a fit through a few has no spread left.
    """

    random_steps = 0
    by_episode = True

    capacity: Count = 20_000
    pace: Pace = Pace(1, 4000)
    discount: Fraction = 0.99
    scale: tuple[Positive, ...] = ()  # the states' units, one for each entry; none is 1 for all
    centres: Count = 7  # centres of the features in each dimension
    width: Positive = 0.8  # width of a feature, in distances of the centres
    std: Positive = 3.0  # first spread of θ
    least_std: Positive = 0.5
    reward_scale: Positive = 2.0
    best: Count = 100  # episodes of an update
    ridge: Positive = 1e-3

    def build(self, spaces: Spaces, rng: Generator) -> PowerNets:
        scale = self.scale or (1.0,) * spaces.state_size
        if len(scale) != spaces.state_size:
            raise ValueError(f"agent.scale: expected {spaces.state_size} numbers, one a state entry, got {scale}")
        if spaces.box.shape[0] * self.centres**spaces.state_size > 100_000:
            raise ValueError(f"agent.centres: expected fewer, as {self.centres} are a grid of too many features")
        features = RadialFeatures(torch.tensor(scale, device=rng.device), self.centres, self.width)
        policy = LinearPolicy(features, spaces.action_size, self.std)
        return PowerNets(spaces, rng, {"policy": Part(policy, None)})

    def schema(self, spaces: Spaces) -> Schema:
        return transitions(spaces.state_size, spaces.action_size, raw=True)

    def explore(self, nets: PowerNets, state: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        of = nets.policy.features(state)
        mean = of @ nets.policy.theta
        raw = mean + nets.normal(mean) * nets.policy.std * of.norm(dim=-1, keepdim=True)
        return raw.clamp(-1, 1), {"raw_action": raw}

    def exploit(self, nets: PowerNets, state: Tensor) -> Tensor:
        return nets.policy.mean(state).clamp(-1, 1)

    def update(self, nets: PowerNets, data: Replay, step: int) -> Losses:
        """Algorithm 1, with the closed-form M-step of eq. 8."""
        played = sorted(ended(data), key=lambda episode: -episode.reward.mean().item())[: self.best]
        if not played:
            return
        state, raw = joined(played, "state", "raw_action")
        of = nets.policy.features(state)
        spread = of.square().sum(-1, keepdim=True)
        weight = torch.cat([self.utility(episode) for episode in played]).unsqueeze(-1)
        weight = weight / weight.mean()
        design = of.T @ (weight / spread * of) + self.ridge * torch.eye(of.shape[1], device=of.device)
        error = raw - of @ nets.policy.theta
        theta = nets.policy.theta + torch.linalg.solve(design, of.T @ (weight / spread * error))
        variance = (weight * (raw - of @ theta).square() / spread).mean(0)
        nets.set("policy", torch.cat([theta.flatten(), variance.sqrt().clamp_min(self.least_std)]))
        yield from ()

    def utility(self, episode: Episode) -> Tensor:
        """Q (T): the discounted sum of the positive rewards to come."""
        positive = Episode({**vars(episode), "reward": (episode.reward / self.reward_scale).exp()}, True, True)
        return lambda_returns(positive, torch.zeros_like(episode.reward), self.discount, 1.0)
