"""Algorithms for tests only: other kinds than Q-learning from single transitions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from elites import Choices
from elites.agents import Algorithm, Losses, Nets, Optimizer, Pace, Part, Replay, Spaces
from elites.agents.replay import Schema, transitions
from elites.fields import Count, Fraction, Positive
from elites.networks.architecture import Architecture
from elites.networks.critics import Critics


def mlp(sizes: tuple[int, ...], rng: Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        linear = nn.Linear(fan_in, fan_out)
        for parameter in linear.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=rng)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def lambda_returns(reward: Tensor, following: Tensor, discount: float, trace: float) -> Tensor:
    """R_t = r + γ ((1 - λ) V_{t+1} + λ R_{t+1}), and r + γ V at the end. following (T,): V_{t+1}, 0 if terminated."""
    found = reward + discount * following
    for t in range(len(reward) - 2, -1, -1):
        found[t] = reward[t] + discount * ((1 - trace) * following[t] + trace * found[t + 1])
    return found


@dataclass(frozen=True)
class Burst(Algorithm):
    """Advantage-weighted regression over whole episodes of the whole buffer, with a normal, or a softmax for choices.

    keep: whether data is used again. If not, every segment is used once and dropped.
    """

    pace: Pace = Pace(updates=1, every=100)
    discount: Fraction = 0.9
    trace: Fraction = 0.5
    spread: Positive = 0.5
    epochs: Count = 10
    batch: Count = 64
    largest: Positive = 20.0
    keep: bool = True

    def build(self, spaces: Spaces, rng: Generator) -> Nets:
        parts = {
            "value": Part(mlp((spaces.state_size, 32, 1), rng), Optimizer(1e-2, "sgd", momentum=0.9)),
            "policy": Part(mlp((spaces.state_size, 32, spaces.action_size), rng), Optimizer(1e-2, clip=10.0)),
        }
        return Nets(spaces, rng, parts)

    def schema(self, spaces: Spaces) -> Schema:
        return transitions(spaces.state_size, spaces.action_size, raw=True)

    def explore(self, nets: Any, state: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        output, space = nets.policy(state), nets.spaces.action
        if isinstance(space, Choices):
            uniform = torch.rand(output.shape, generator=nets.rng)
            drawn = space.project(output - (-uniform.log()).log())  # the Gumbel maximum
            return drawn, {"raw_action": drawn}
        raw = output + self.spread * nets.normal(output)
        return space.project(raw), {"raw_action": raw}

    def exploit(self, nets: Any, state: Tensor) -> Tensor:
        found: Tensor = nets.spaces.action.project(nets.policy(state))
        return found

    def log_density(self, nets: Any, state: Tensor, raw: Tensor) -> Tensor:
        if isinstance(nets.spaces.action, Choices):
            return (nets.policy(state).log_softmax(-1) * raw).sum(-1)
        return -((raw - nets.policy(state)) / self.spread).square().sum(-1) / 2

    @torch.no_grad()
    def returns(self, nets: Any, data: Replay) -> tuple[Tensor, Tensor, Tensor]:
        """States, raw actions and λ-returns of all stored rows, episode by episode."""
        states, actions, found = [], [], []
        for episode in data.episodes():
            following = nets.value(episode.next_state).squeeze(-1) * ~episode.terminated
            states.append(episode.state)
            actions.append(episode.raw_action)
            found.append(lambda_returns(episode.reward, following, self.discount, self.trace))
        return torch.cat(states), torch.cat(actions), torch.cat(found)

    def shuffled(self, nets: Any, rows: int) -> list[Tensor]:
        epochs = [torch.randperm(rows, generator=nets.rng) for _ in range(self.epochs)]
        return [part for epoch in epochs for part in epoch.split(self.batch)]

    def update(self, nets: Any, data: Replay, step: int) -> Losses:
        state, raw, target = self.returns(nets, data)
        for rows in self.shuffled(nets, len(state)):
            yield "value", (nets.value(state[rows]).squeeze(-1) - target[rows]).square().mean() / 2

        state, raw, target = self.returns(nets, data)
        with torch.no_grad():
            advantage = target - nets.value(state).squeeze(-1)
            weight = (2 * (advantage - advantage.mean()) / (advantage.std() + 1e-6)).exp().clamp(max=self.largest)
        for rows in self.shuffled(nets, len(state)):
            loss = -(weight[rows] * self.log_density(nets, state[rows], raw[rows])).mean()
            yield "policy", loss, {"weight": weight[rows].mean()}
        if not self.keep:
            data.drop()


class Dual(nn.Module):
    """η > 0."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.ones(()))

    def forward(self) -> Tensor:
        return nn.functional.softplus(self.raw) + 1e-8


@dataclass(frozen=True)
class Sampled(Algorithm):
    """MPO without trust regions: several actions for each state, softmax weights, the temperature by the dual."""

    batch: Count = 64
    samples: Count = 16
    discount: Fraction = 0.9
    epsilon: Positive = 0.5
    spread: Positive = 0.3
    tau: Fraction = 0.05

    def build(self, spaces: Spaces, rng: Generator) -> Nets:
        size = spaces.box.shape[0]
        critics = Critics(spaces.state_size, size, 1, Architecture((32, 32)), rng)
        parts = {
            "critics": Part(critics, Optimizer(3e-3), slow=True),
            "policy": Part(mlp((spaces.state_size, 32, size), rng), Optimizer(3e-3, decay=1e-5), slow=True),
            "dual": Part(Dual(), Optimizer(1e-2)),
        }
        return Nets(spaces, rng, parts)

    def explore(self, nets: Any, state: Tensor) -> Tensor:
        mean = nets.policy(state)
        found: Tensor = (mean + self.spread * nets.normal(mean)).clamp(-1, 1)
        return found

    def exploit(self, nets: Any, state: Tensor) -> Tensor:
        found: Tensor = nets.policy(state).clamp(-1, 1)
        return found

    def update(self, nets: Any, data: Replay, step: int) -> Losses:
        batch = data.sample(self.batch, nets.rng)
        with torch.no_grad():
            state = batch.next_state.repeat(self.samples, 1)  # (M R, S)
            action = nets.slow.policy(state)
            action = (action + self.spread * nets.normal(action)).clamp(-1, 1)
            values = nets.slow.critics.values(state, action)[0].reshape(self.samples, -1)  # (M, R)
            target = batch.reward + self.discount * ~batch.terminated * values.mean(0)
        yield "critics", (nets.critics.values(batch.state, batch.action)[0] - target).square().mean()

        eta = nets.dual()
        yield "dual", eta * (self.epsilon + ((values / eta).logsumexp(0) - math.log(self.samples)).mean())
        weight = (values / nets.dual().detach()).softmax(0)
        distance = (action - nets.policy(state)).square().sum(-1).reshape(self.samples, -1)
        yield "policy", (weight * distance).sum(0).mean() / self.spread**2, {"temperature": nets.dual()}
        nets.follow(self.tau, "critics")
        if step % 10 == 0:
            nets.follow(1.0, "policy")


@dataclass(frozen=True)
class ClosedForm(Algorithm):
    """Fitted Q-iteration by ridge regression on quadratic features: it sets weights, without a descent."""

    pace: Pace = Pace(updates=2, every=50, learning_starts=50)
    discount: Fraction = 0.9
    ridge: Positive = 1e-3

    def build(self, spaces: Spaces, rng: Generator) -> Nets:
        size = 1 + spaces.state_size + spaces.action_size
        q = nn.Linear(size * size, 1, bias=False)
        nn.init.zeros_(q.weight)
        return Nets(spaces, rng, {"q": Part(q, optimizer=None)})

    def grid(self, nets: Any) -> Tensor:
        """All actions considered (G, A)."""
        space = nets.spaces.action
        if isinstance(space, Choices):
            return space.rows(torch.arange(space.sizes[0]).unsqueeze(-1))
        return torch.linspace(-1, 1, 21).unsqueeze(-1).expand(-1, *space.shape)

    def features(self, state: Tensor, action: Tensor) -> Tensor:
        x = torch.cat([torch.ones_like(state[..., :1]), state, action], -1)
        return (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)

    def values(self, nets: Any, state: Tensor) -> Tensor:
        """(R, S) -> (R, G)."""
        grid = self.grid(nets)
        pairs = state.unsqueeze(1).expand(-1, len(grid), -1), grid.expand(len(state), -1, -1)
        found: Tensor = nets.q(self.features(*pairs)).squeeze(-1)
        return found

    def explore(self, nets: Any, state: Tensor) -> Tensor:
        found: Tensor = nets.spaces.action.uniform(len(state), nets.rng)
        return found

    def exploit(self, nets: Any, state: Tensor) -> Tensor:
        return self.grid(nets)[self.values(nets, state).argmax(-1)]

    @torch.no_grad()
    def update(self, nets: Any, data: Replay, step: int) -> Losses:
        rows = data.all()
        target = rows.reward + self.discount * ~rows.terminated * self.values(nets, rows.next_state).amax(-1)
        x = self.features(rows.state, rows.action)
        moments = x.T @ x + self.ridge * torch.eye(x.shape[1])
        nets.set("q", torch.linalg.solve(moments, x.T @ target))
        yield from ()


SMALL: dict[str, Algorithm] = {
    "burst": Burst(capacity=300),
    "segment": Burst(pace=Pace(every=200), keep=False),
    "sampled": Sampled(),
    "closed_form": ClosedForm(),
}
