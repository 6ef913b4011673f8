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

from elites.fields import Checked, Count, check
from elites.networks import native
from elites.networks.rollout import Draw, Engine, Layers, Precision, Spread, Torch, network, rollout, silu


@dataclass(frozen=True)
class Architecture(Checked):
    """The networks, and how particles are passed through them.

    propagation (PETS, sec. 5): `tsinf` keeps a particle with one member, `ts1` deals particles to members anew at every
    step, `mean` follows the mean of all members' means, without noise. sampling: the numbers in which candidates are
    scored where no gradient is asked for; those of 16 bits where the compiled rollout and the processor know them. The
    fastest are float16, else bfloat16, else float32.
    """

    members: Count = 5
    layers: Count = 3
    width: Count = 200
    elites: Count | None = None  # the best members by validation loss, which alone are planned with; None is all
    propagation: Literal["tsinf", "ts1", "mean"] = "tsinf"
    sampling: Precision = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.elites is not None and self.elites > self.members:
            raise ValueError(f"Architecture.elites: expected at most {self.members} members, got {self.elites}")


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
        self.backend: str | None = None  # what the last rollout ran in
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

    @property
    def chunk(self) -> int:
        """Rollouts worth scoring at once: for the kernel as many as need no more than a megabyte for each 45 steps."""
        if self.relative.device.type != "cpu":
            return 32768
        return max(128, 5760 // self.state_size) if native.kernels() else 2048

    # --- whole trajectories ------------------------------------------------------------------------------------------

    def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> Draw:
        """Particles dealt to the members evenly: rounded up to a multiple of theirs, or to as many random members."""
        kind, size, count = self.architecture.propagation, self.state_size, len(self.elites)
        device = self.relative.device
        met = None if count == self.architecture.members else self.elites  # all, without a copy
        if kind == "mean":
            return self._drawn(met, 1, None)
        if particles < count and kind == "tsinf":
            met = self.elites[torch.randperm(count, generator=rng, device=device)[:particles]]
            count = particles
        particles = math.ceil(particles / count) * count
        epsilon: Tensor | int
        if candidates and device.type == "cpu":  # a seed is enough, and can be had without waiting for a device
            epsilon = int(torch.randint(2**63 - 1, (), generator=rng))
        else:
            rows = math.prod(candidates)
            epsilon = torch.randn(particles, rows, horizon, size, generator=rng, device=device)
        order = None
        if kind == "ts1":
            order = torch.rand(horizon, particles, generator=rng, device=device).argsort(-1)
            order = order // (particles // count)
        return self._drawn(met, particles, epsilon, order)

    @torch.no_grad()
    def _drawn(
        self, met: Tensor | None, particles: int, epsilon: Tensor | int | None, order: Tensor | None = None
    ) -> Draw:
        *hidden, (weight, bias) = [(weight.detach(), bias.detach()) for weight, bias in self.folded(met)]
        low, high = (x if met is None else x[met] for x in (self.min_log_var, self.max_log_var))
        size = self.state_size
        mixed, spread = self.architecture.propagation == "mean", None
        if epsilon is None or weight.shape[-1] == size:  # no noise is wanted, or the networks know of none
            weight, bias = weight[..., :size].contiguous(), bias[..., :size].contiguous()
        else:  # σ(raw - max), with the max in the bias
            bias, spread = bias - functional.pad(high, (size, 0)), Spread(low.exp(), high.exp(), epsilon)
        layers = [*hidden, (weight, bias)]
        return Draw(layers, self.relative, self.encode, self.activation, particles, spread, order, mixed)

    def rollout(self, state: Tensor, actions: Tensor, noise: Draw) -> Tensor:
        """state (*B, S), actions (*B, N, H, A) -> states (*B, N, P, H, S); gradients reach state and actions alone."""
        return self._rolled(state, actions, noise, "float32")

    def rough_rollout(self, state: Tensor, actions: Tensor, noise: Draw) -> Tensor:
        """The same in the numbers that are good enough for sampling."""
        return self._rolled(state, actions, noise, self.architecture.sampling)

    def _rolled(self, state: Tensor, actions: Tensor, noise: Draw, precision: Precision) -> Tensor:
        engine: Engine = native.Native() if native.serves(noise, state, actions) else Torch()
        self.backend = engine.name
        return rollout(engine, noise, state, actions, precision)


def soft_variance(raw: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Two soft bounds on the log variance, high - softplus(high - raw), then low + softplus(· - low), collapsed."""
    return low.exp() + high.exp() * torch.sigmoid(raw - high)
