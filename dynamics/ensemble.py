"""The probabilistic ensemble of PETS (Chua et al. 2018): several networks, each a normal over the next state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from elites.dynamics.closed_loop import TanhPolicies, react
from elites.dynamics.cuda_rollout import CudaRollout
from elites.dynamics.dynamics import Act, Dynamics
from elites.dynamics.native_rollout import NativeReaction, NativeRollout
from elites.dynamics.rollout import Draw, RolloutEngine, StepNoise, rollout
from elites.dynamics.torch_rollout import TorchRollout
from elites.fields import Checked, Count, check
from elites.networks import library
from elites.networks.architecture import Architecture
from elites.networks.engine import Precision
from elites.networks.layers import Layer, detached, folded
from elites.networks.mlp import MLP

NATIVE, CUDA, TORCH = NativeRollout(), CudaRollout(), TorchRollout()
REACTION = NativeReaction()
STILL = 1e-6  # an entry whose targets have a smaller spread never moved; it keeps its own unit
PETS_NETWORKS = Architecture((200, 200, 200), "silu", initialisation="truncated_normal", normalise_inputs=True)
NETWORKS = replace(PETS_NETWORKS, layer_norm="all")  # its rollouts stay near the data: docs/results/models.md


@dataclass(frozen=True)
class EnsembleConfig(Checked):
    """The networks, and how particles pass through them.

    propagation (PETS, sec. 5): `tsinf` keeps a particle with one member. `ts1` assigns particles to members again at
    every step. `mean` follows the mean of all members' means, without noise. sampling: the number format in which
    candidates are scored without a gradient. Formats other than float32 need the kernel and a processor that has them.
    `fastest` is bfloat16 on tiles, else float16, else bfloat16. On a GPU it is bfloat16, the only other format there.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {
        "layers": "architecture.hidden",
        "width": "architecture.hidden",
        "elites": "best_members",
    }
    members: Count = 5  # number of networks
    architecture: Architecture = NETWORKS  # the architecture of each network
    best_members: Count | None = None  # number of members to plan with, the best by validation loss; None is all
    propagation: Literal["tsinf", "ts1", "mean"] = "tsinf"
    sampling: Precision = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.best_members is not None and self.best_members > self.members:
            most, got = self.members, self.best_members
            raise ValueError(f"EnsembleConfig.best_members: expected at most {most} members, got {got}")


class ProbabilisticEnsemble(nn.Module, Dynamics[Draw]):
    """M networks: (state, action) -> mean and variance of the change from the state to the next state.

    The networks predict targets less their mean, in units of their spread. The bounds of the log variance are in these
    units too. `variance_factor` calibrates the variance. encode: (R, S) -> (R, F), the networks' view of a state.
    absolute: entries that are predicted directly, not as changes. angles: entries whose change goes the short way
    round. `rng` draws the weights.
    """

    def __init__(
        self,
        state_size: int,
        action_size: int,
        config: EnsembleConfig | None = None,
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
        self.config = c = config or EnsembleConfig()
        self.state_size, self.action_size, self.encode = state_size, action_size, encode
        self.angles = list(angles)
        self._ran_in: str | None = None
        features = state_size if encode is None else encode(torch.zeros(1, state_size, device=rng.device)).shape[-1]
        self.mlp = MLP(c.architecture, features + action_size, 2 * state_size, c.members, rng)
        self.min_log_var = nn.Parameter(torch.full((c.members, 1, state_size), -10.0, device=rng.device))
        self.max_log_var = nn.Parameter(torch.zeros(c.members, 1, state_size, device=rng.device))
        relative = torch.ones(state_size, device=rng.device)
        relative[list(absolute)] = 0
        self.best_members: Tensor
        self.relative: Tensor
        self.target_mean: Tensor
        self.target_std: Tensor
        self.variance_factor: Tensor
        self.register_buffer("target_mean", torch.zeros(state_size, device=rng.device))
        self.register_buffer("target_std", torch.ones(state_size, device=rng.device))
        self.register_buffer("variance_factor", torch.ones(state_size, device=rng.device))
        self.register_buffer("best_members", torch.arange(c.best_members or c.members, device=rng.device))
        self.register_buffer("relative", relative, persistent=False)

    # --- one step ----------------------------------------------------------------------------------------------------

    def inputs(self, state: Tensor, action: Tensor) -> Tensor:
        """(R, S), (R, A) -> the networks' inputs before normalisation (R, F + A)."""
        return torch.cat([state if self.encode is None else self.encode(state), action], -1)

    def targets(self, state: Tensor, next_state: Tensor) -> Tensor:
        """(R, S), (R, S) -> the targets that the model predicts (R, S)."""
        change = next_state - state * self.relative
        if self.angles:
            turn = change[:, self.angles]
            entries = torch.tensor(self.angles, device=change.device)
            change = change.index_copy(1, entries, torch.atan2(turn.sin(), turn.cos()))
        return change

    def normalise(self, inputs: Tensor, targets: Tensor) -> None:
        """Sets the normalizers to the mean and spread of inputs (R, F + A) and targets (R, S)."""
        self.mlp.normalise(inputs)
        std, mean = torch.std_mean(targets, 0, correction=0)
        self.target_mean.copy_(mean)
        self.target_std.copy_(torch.where(std < STILL, 1.0, std))

    def normalised(self, targets: Tensor) -> Tensor:
        """Targets (R, S) in the networks' units."""
        return (targets - self.target_mean) / self.target_std

    def predict(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Every member's mean and variance of the next state: (R, S), (R, A) -> (M, R, S), (M, R, S)."""
        change, raw = self.mlp(self.inputs(state, action)).chunk(2, -1)
        mean = state * self.relative + self.target_mean + self.target_std * change
        return mean, self._unit_variance * soft_variance(raw, self.min_log_var, self.max_log_var)

    @property
    def _unit_variance(self) -> Tensor:
        """The calibrated variance for an output of 1 from the networks (S,)."""
        return self.target_std**2 * self.variance_factor

    @property
    def chunk(self) -> int:
        """For the kernel, as many rollouts as need one megabyte for 45 steps, and enough to keep threads busy."""
        if self.relative.device.type != "cpu":
            return 32768
        return max(320, 5760 // self.state_size) if library.kernels() else 2048

    @property
    def deterministic(self) -> bool:
        return self.config.propagation == "mean"

    @property
    def engine(self) -> str | None:
        return self._ran_in

    # --- whole trajectories ------------------------------------------------------------------------------------------

    def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> Draw:
        """Assigns particles evenly to members: rounds up to a multiple, or picks as many random members."""
        kind, size, count = self.config.propagation, self.state_size, len(self.best_members)
        device = self.relative.device
        if kind == "mean":
            return self.means(horizon)
        met = self._met
        if particles < count and kind == "tsinf":
            met = self.best_members[torch.randperm(count, generator=rng, device=device)[:particles]]
            count = particles
        particles = math.ceil(particles / count) * count
        epsilon: Tensor | int
        if candidates and device.type == "cpu":  # a seed is enough; on a CPU, reading it waits for nothing
            epsilon = int(torch.randint(2**63 - 1, (), generator=rng))
        else:
            rows = math.prod(candidates)
            epsilon = torch.randn(particles, rows, horizon, size, generator=rng, device=device)
        order = None
        if kind == "ts1":
            order = torch.rand(horizon, particles, generator=rng, device=device).argsort(-1)
            order = order // (particles // count)
        return self._drawn(met, particles, epsilon, order)

    def means(self, horizon: int) -> Draw:
        """One particle for each member, or one for their mean."""
        return self._drawn(self._met, 1 if self.deterministic else len(self.best_members), None)

    @property
    def _met(self) -> Tensor | None:
        """The members that take part. None is all, without a copy."""
        return None if len(self.best_members) == self.config.members else self.best_members

    @torch.no_grad()
    def _drawn(
        self, met: Tensor | None, particles: int, epsilon: Tensor | int | None, order: Tensor | None = None
    ) -> Draw:
        *hidden, (weight, bias, _) = detached(self.mlp.folded(met))
        low, high = (x if met is None else x[met] for x in (self.min_log_var, self.max_log_var))
        size, mixed, noise = self.state_size, self.config.propagation == "mean", None
        std = self.target_std
        if epsilon is None or weight.shape[-1] == size:  # without noise, or networks without variances
            weight, bias, unit = weight[..., :size], bias[..., :size], std
        else:  # σ(raw - max), with the max in the bias
            bias, unit = bias - functional.pad(high, (size, 0)), functional.pad(std, (0, size), value=1.0)
            noise = StepNoise(self._unit_variance * low.exp(), self._unit_variance * high.exp(), epsilon)
        bias = bias * unit + functional.pad(self.target_mean, (0, len(unit) - size))
        layers = [*hidden, Layer((weight * unit).contiguous(), bias.contiguous(), None)]
        return Draw(layers, self.relative, self.encode, particles, noise, order, mixed)

    def rollout(self, state: Tensor, actions: Tensor, drawn: Draw) -> Tensor:
        """state (*B, S), actions (*B, N, H, A) -> states (*B, N, P, H, S), with gradients for state and actions."""
        return self._rolled(state, actions, drawn, "float32")

    def rough_rollout(self, state: Tensor, actions: Tensor, drawn: Draw) -> Tensor:
        """The same rollout in the number format for sampling."""
        return self._rolled(state, actions, drawn, self.config.sampling)

    def react(
        self, state: Tensor, act: Act, candidates: tuple[int, ...], horizon: int, drawn: Draw, rough: bool = False
    ) -> tuple[Tensor, Tensor]:
        rows, first = math.prod(candidates), state.reshape(-1, state.shape[-1])
        precision: Precision = self.config.sampling if rough else "float32"
        by = self._on_encoded(act)
        if by and REACTION.serves(drawn, first, by):
            (actions, states), self._ran_in = REACTION.forward(drawn, first, by, horizon, precision), REACTION.name
        else:
            actions, states, self._ran_in = react(drawn, first, act, rows, horizon, precision)
        return actions.reshape(*candidates, *actions.shape[1:]), states.reshape(*candidates, *states.shape[1:])

    def _on_encoded(self, act: Act) -> TanhPolicies | None:
        """These policies as networks of encoded states, if they see the model's features."""
        if not isinstance(act, TanhPolicies):
            return None
        raw = act.inputs is None and self.encode is None
        if not raw and act.inputs != self.features:
            return None
        if raw or not self.mlp.architecture.normalise_inputs:
            return act
        size = act.layers[0].weight.shape[1]
        first = folded(act.layers[0], self.mlp.input_mean[:size], self.mlp.input_std[:size])
        return replace(act, layers=[first, *act.layers[1:]])

    def features(self, state: Tensor) -> Tensor:
        """States (..., S) as the networks see them: encoded and normalised (..., F)."""
        rows = state.reshape(-1, state.shape[-1])
        seen = rows if self.encode is None else self.encode(rows)
        if self.mlp.architecture.normalise_inputs:
            seen = (seen - self.mlp.input_mean[: seen.shape[1]]) / self.mlp.input_std[: seen.shape[1]]
        return seen.reshape(*state.shape[:-1], -1)

    def _rolled(self, state: Tensor, actions: Tensor, drawn: Draw, precision: Precision) -> Tensor:
        engine: RolloutEngine = NATIVE if NATIVE.serves(drawn, state, actions) else TORCH
        if CUDA.serves(drawn, state, actions, precision):
            engine = CUDA
        self._ran_in = engine.name
        return rollout(engine, drawn, state, actions, precision)


def soft_variance(raw: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The variance under two soft bounds: log var = high - softplus(high - raw), then low + softplus(log var - low)."""
    return low.exp() + high.exp() * torch.sigmoid(raw - high)
