"""What a model-free agent learns: Q-functions, and policies that are deterministic or a squashed normal."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from elites.features import Features
from elites.networks import native
from elites.networks.rollout import Draw, Layers, Precision, network, rollout
from elites.spaces import Box

CACHED_ROWS = 512


def uniform_(parameter: Tensor, fan_in: int, rng: Generator) -> Tensor:
    """U(-1, 1) / √fan_in, as PyTorch's Linear begins, from a generator of ours."""
    with torch.no_grad():
        return parameter.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=rng)


class Critics(nn.Module):
    """M Q-functions: (state, action) -> values (M, R); ReLU, a batched product a layer."""

    def __init__(self, state_size: int, action_size: int, count: int, hidden: Iterable[int], rng: Generator) -> None:
        super().__init__()
        self.state_size = state_size
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in itertools.pairwise([state_size + action_size, *hidden, 1]):
            for shape, parameters in (((fan_in, fan_out), self.weights), ((1, fan_out), self.biases)):
                value = torch.empty(count, *shape, device=rng.device)
                parameters.append(nn.Parameter(uniform_(value, fan_in, rng)))

    def layers(self) -> Layers:
        return list(zip(self.weights, self.biases, strict=True))

    def values(self, state: Tensor, action: Tensor) -> Tensor:
        """(R, S), (R, A) -> (M, R)."""
        inputs = torch.cat([state, action], -1)
        return network(inputs.expand(len(self.weights[0]), -1, -1), self.layers(), torch.relu).squeeze(-1)

    def at(self, state: Tensor, precision: Precision = "float32", member: int = 0) -> Callable[[Tensor], Tensor]:
        """One of them at states (B, S), as the objective of a planner: actions (B, N, A) -> (B, N).

        The states' part of the first layer is computed once, not for every candidate. To the compiled rollout a
        Q-function is then a model of one step, whose state is the value. precision: what will do between its layers,
        where that knows it and the values fit in it.
        """
        (weight, bias), *others = [(weight[member], bias[member]) for weight, bias in self.layers()]
        known = torch.addmm(bias, state, weight[: self.state_size])  # (B, width)
        layers = [(weight[self.state_size :], known), *others]
        stacked = [(weight.unsqueeze(0), bias.unsqueeze(0)) for weight, bias in layers]
        draw = Draw(stacked, state.new_zeros(1), Features(), nn.ReLU(), particles=1)
        nothing = state.new_zeros(len(state), 1)

        def compiled(actions: Tensor) -> Tensor:
            values = rollout(native.Native(), draw, nothing, actions.unsqueeze(-2), precision)
            if precision != "float32" and not values.isfinite().all():
                values = rollout(native.Native(), draw, nothing, actions.unsqueeze(-2))
            return values[..., 0, 0, 0]

        return compiled if native.serves(draw, state, state) else _eager(layers)


def _eager(layers: Layers) -> Callable[[Tensor], Tensor]:
    """The same in torch: on a CPU so many rows at a time that what lies between the layers stays in its cache."""
    (weight, known), *hidden, (last, offset) = layers

    def objective(actions: Tensor) -> Tensor:
        rows = CACHED_ROWS if actions.device.type == "cpu" else actions.shape[0] * actions.shape[1]
        chunk = max(1, rows // actions.shape[1])
        values = []
        for here, those in zip(torch.split(known, chunk), torch.split(actions, chunk), strict=True):
            x = (those @ weight).add_(here.unsqueeze(1)).relu_().flatten(0, 1)
            for matrix, addend in hidden:
                x = torch.mm(x, matrix).add_(addend).relu_()
            values.append(torch.addmm(offset, x, last))
        return torch.cat(values).reshape(actions.shape[:2])

    return objective


class Policy(nn.Module):
    """state (R, S) -> `action` (R, A) in the unit cube: the tanh of ReLU layers. A call answers in the box's units."""

    def __init__(self, state_size: int, box: Box, hidden: Iterable[int], rng: Generator, heads: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise([state_size, *hidden, heads * box.shape[0]]):
            linear = nn.Linear(fan_in, fan_out, device="meta").to_empty(device=rng.device)
            for parameter in (linear.weight, linear.bias):
                uniform_(parameter, fan_in, rng)
            layers += [linear, nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.low: Tensor
        self.high: Tensor
        self.middle: Tensor
        self.reach: Tensor
        for name, value in {"low": box.low, "high": box.high, "middle": box.centre, "reach": box.half}.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, state: Tensor) -> Tensor:
        """As `Box.from_unit`: what is in the unit cube may round to a point beside the box."""
        return torch.addcmul(self.middle, self.reach, self.action(state)).clamp(self.low, self.high)

    def action(self, state: Tensor) -> Tensor:
        """(R, S) -> (R, A)."""
        found: Tensor = self.layers(state).tanh()
        return found


class NormalPolicy(Policy):
    """The tanh of a normal whose mean and spread depend on the state: SAC's. Its `action` is that of the mean."""

    LOG_STD = (-20.0, 2.0)

    def __init__(self, state_size: int, box: Box, hidden: Iterable[int], rng: Generator) -> None:
        super().__init__(state_size, box, hidden, rng, heads=2)

    def action(self, state: Tensor) -> Tensor:
        mean, _ = self.layers(state).chunk(2, -1)
        found: Tensor = mean.tanh()
        return found

    def sample(self, state: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
        """An action (R, A), and its log density (R); both with a gradient."""
        mean, log_std = self.layers(state).chunk(2, -1)
        log_std = log_std.clamp(*self.LOG_STD)
        epsilon = torch.randn(mean.shape, generator=rng, device=mean.device)
        raw = mean + log_std.exp() * epsilon
        normal = -0.5 * epsilon.square() - log_std - 0.5 * math.log(2 * math.pi)
        slope = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))  # ln (1 - tanh²)
        return raw.tanh(), (normal - slope).sum(-1)


Network = TypeVar("Network", bound=nn.Module)


def slow_copy(module: Network) -> Network:
    """A target network, which no gradient reaches; `follow` moves it."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, tau: float) -> None:
    """slow ← slow + τ (fast - slow)."""
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), tau)
