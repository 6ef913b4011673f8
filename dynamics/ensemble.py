"""The probabilistic ensemble of PETS (Chua et al. 2018): several networks, each a normal over what comes next."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from elites.fields import Count, check, validate

Layers = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Architecture:
    """The networks, and how particles are passed through them.

    propagation (PETS, sec. 5): `tsinf` keeps a particle with one member, `ts1` deals particles to members anew at every
    step, `mean` follows the mean of all members' means, without noise.
    """

    members: Count = 5
    layers: Count = 3
    width: Count = 200
    elites: Count | None = None  # the best members by validation loss, which alone are planned with; None is all
    propagation: Literal["tsinf", "ts1", "mean"] = "tsinf"

    def __post_init__(self) -> None:
        validate(self)
        if self.elites is not None and self.elites > self.members:
            raise ValueError(f"Architecture.elites: expected at most {self.members} members, got {self.elites}")


@dataclass(frozen=True)
class Draw:
    """All randomness of a rollout, and the members that it meets: G groups of P / G particles."""

    layers: Layers  # of the members met, (G, in, out) and (G, 1, out)
    bounds: tuple[Tensor, Tensor]  # of their log variance, (G, 1, S)
    epsilon: Tensor | None  # (P, 1, H, S), or (P, B · N, H, S) where every candidate has its own
    order: Tensor | None  # (H, P): which particle is where at a step, under ts1


class ProbabilisticEnsemble(nn.Module):
    """M networks: (state, action) -> mean and variance of what the next state adds to the state.

    encode: (R, S) -> (R, F), what of a state the networks see. absolute: entries that are predicted as they are, not as
    changes. angles: entries whose change is taken the short way round. All randomness of the weights is from `rng`.
    """

    def __init__(
        self,
        state_size: int,
        action_size: int,
        architecture: Architecture | None = None,
        *,
        encode: Callable[[Tensor], Tensor] | None = None,
        absolute: Sequence[int] = (),
        angles: Sequence[int] = (),
        rng: Generator,
    ) -> None:
        super().__init__()
        check("ProbabilisticEnsemble.state_size", state_size, Count)
        check("ProbabilisticEnsemble.action_size", action_size, Count)
        for name, entries in (("absolute", absolute), ("angles", angles)):
            if any(not 0 <= entry < state_size for entry in entries):
                raise ValueError(f"ProbabilisticEnsemble.{name}: expected entries of {state_size}, got {entries}")
        self.architecture = a = architecture or Architecture()
        self.state_size, self.action_size, self.encode = state_size, action_size, encode
        self.angles = list(angles)
        self.activation: Callable[[Tensor], Tensor] = silu
        features = state_size if encode is None else encode(torch.zeros(1, state_size, device=rng.device)).shape[-1]
        sizes = [features + action_size, *[a.width] * a.layers, 2 * state_size]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in itertools.pairwise(sizes):
            weight, std = torch.empty(a.members, fan_in, fan_out, device=rng.device), 1 / (2 * math.sqrt(fan_in))
            nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=rng)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(a.members, 1, fan_out, device=rng.device)))
        self.min_log_var = nn.Parameter(torch.full((a.members, 1, state_size), -10.0, device=rng.device))
        self.max_log_var = nn.Parameter(torch.full((a.members, 1, state_size), 0.5, device=rng.device))
        relative = torch.ones(state_size, device=rng.device)
        relative[list(absolute)] = 0
        self.input_mean: Tensor
        self.input_std: Tensor
        self.elites: Tensor
        self.relative: Tensor
        self.register_buffer("input_mean", torch.zeros(sizes[0], device=rng.device))
        self.register_buffer("input_std", torch.ones(sizes[0], device=rng.device))
        self.register_buffer("elites", torch.arange(a.elites or a.members, device=rng.device))
        self.register_buffer("relative", relative, persistent=False)

    # --- one step ----------------------------------------------------------------------------------------------------

    def inputs(self, state: Tensor, action: Tensor) -> Tensor:
        """(R, S), (R, A) -> what the networks see, before it is normalised (R, F + A)."""
        return torch.cat([state if self.encode is None else self.encode(state), action], -1)

    def targets(self, state: Tensor, next_state: Tensor) -> Tensor:
        """(R, S), (R, S) -> what the networks predict (R, S)."""
        change = next_state - state * self.relative
        if self.angles:
            turn = change[:, self.angles]
            entries = torch.tensor(self.angles, device=change.device)
            change = change.index_copy(1, entries, torch.atan2(turn.sin(), turn.cos()))
        return change

    def normalise(self, inputs: Tensor) -> None:
        """Takes the mean and spread of training inputs (R, F + A) as the normalizer's."""
        std, mean = torch.std_mean(inputs, 0, correction=0)
        self.input_mean.copy_(mean)
        self.input_std.copy_(torch.where(std < 1e-8, 1.0, std))  # what never varied is left as it is

    def layers(self, members: Tensor | None = None) -> Layers:
        """(M, in, out) and (M, 1, out) of every layer, for normalised inputs."""
        pairs = list(zip(self.weights, self.biases, strict=True))
        return pairs if members is None else [(weight[members], bias[members]) for weight, bias in pairs]

    def folded(self, members: Tensor | None = None) -> Layers:
        """The layers with the normalizer, (x - mean) / std, in the first."""
        (weight, bias), *others = self.layers(members)
        weight = weight / self.input_std.unsqueeze(-1)
        return [(weight, bias - (self.input_mean @ weight).unsqueeze(1)), *others]

    def predict(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Every member's mean of the next state and its variance: (R, S), (R, A) -> (M, R, S), (M, R, S)."""
        inputs = self.inputs(state, action)
        output = network(inputs.expand(self.architecture.members, *inputs.shape), self.folded(), self.activation)
        change, raw = output.chunk(2, -1)
        return state * self.relative + change, soft_variance(raw, self.min_log_var, self.max_log_var)

    # --- whole trajectories ------------------------------------------------------------------------------------------

    def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> Draw:
        """Particles dealt to the members evenly: rounded up to a multiple of theirs, or to as many random members."""
        met, kind = self.elites, self.architecture.propagation
        if kind == "mean":
            return self._drawn(met, None, None)
        if particles < len(met) and kind == "tsinf":
            met = met[torch.randperm(len(met), generator=rng, device=rng.device)[:particles]]
        particles = math.ceil(particles / len(met)) * len(met)
        epsilon = torch.randn(*candidates, particles, horizon, self.state_size, generator=rng, device=rng.device)
        order = None
        if kind == "ts1":
            order = torch.rand(horizon, particles, generator=rng, device=rng.device).argsort(-1)
        return self._drawn(met, epsilon.reshape(-1, *epsilon.shape[-3:]).transpose(0, 1), order)

    @torch.no_grad()
    def _drawn(self, met: Tensor, epsilon: Tensor | None, order: Tensor | None) -> Draw:
        return Draw(self.folded(met), (self.min_log_var[met], self.max_log_var[met]), epsilon, order)

    def rollout(self, state: Tensor, actions: Tensor, noise: Draw) -> Tensor:
        """state (*B, S), actions (*B, N, H, A) -> states (*B, N, P, H, S); gradients reach state and actions alone."""
        *lead, horizon, size = actions.shape
        groups = len(noise.layers[0][0])
        moves = actions.reshape(-1, horizon, size)  # (R, H, A)
        rows = len(moves)
        particles = 1 if noise.epsilon is None else len(noise.epsilon)
        state = state.unsqueeze(-2).expand(*lead, -1).reshape(1, rows, -1).expand(particles, -1, -1)  # (P, R, S)
        states = []
        for t in range(horizon):
            if noise.order is not None:
                state = state[noise.order[t]]
            seen = state if self.encode is None else self.encode(state.reshape(particles * rows, -1))
            action = moves[:, t].expand(particles, -1, -1)
            inputs = torch.cat([seen.reshape(particles, rows, -1), action], -1)
            if noise.epsilon is None:
                inputs = inputs.expand(groups, -1, -1)
            inputs = inputs.reshape(groups, -1, inputs.shape[-1])
            change, raw = network(inputs, noise.layers, self.activation).chunk(2, -1)
            if noise.epsilon is None:
                change = change.mean(0, keepdim=True)
            else:
                std = soft_variance(raw, *noise.bounds).sqrt().reshape(particles, rows, -1)
                change = change.reshape(particles, rows, -1) + std * noise.epsilon[:, :, t]
            state = state * self.relative + change
            if noise.order is not None:
                state = state[noise.order[t].argsort()]  # every particle back in its place
            states.append(state)
        return torch.stack(states, 2).transpose(0, 1).reshape(*lead, particles, horizon, -1)


def soft_variance(raw: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Two soft bounds on the log variance, high - softplus(high - raw), then low + softplus(· - low), collapsed."""
    return low.exp() + high.exp() * torch.sigmoid(raw - high)


def silu(x: Tensor) -> Tensor:
    return functional.silu(x, inplace=not x.requires_grad)


def network(x: Tensor, layers: Layers, activation: Callable[[Tensor], Tensor] = silu) -> Tensor:
    """(M, R, in) -> (M, R, out): one batched product a layer, an activation between them."""
    for weight, bias in layers[:-1]:
        x = activation(torch.baddbmm(bias, x, weight))
    weight, bias = layers[-1]
    return torch.baddbmm(bias, x, weight)
