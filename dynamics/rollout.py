"""A whole trajectory through networks, and its gradient: one operation, with two engines behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable

from elites.networks.engine import Precision
from elites.networks.layers import Function, Layers


@dataclass(frozen=True)
class StepNoise:
    """A step adds ε times the root of the variance low + high σ(raw)."""

    low: Tensor  # (G, 1, S)
    high: Tensor  # (G, 1, S)
    epsilon: Tensor | int  # (P, 1, H, S); or (P, R, H, S) or a seed where every candidate has its own

    def of(self, particles: int, moves: Tensor) -> Tensor:
        """ε as a tensor, for moves (R, H, A)."""
        if isinstance(self.epsilon, Tensor):
            return self.epsilon
        rng = Generator(moves.device).manual_seed(self.epsilon)
        shape = (particles, *moves.shape[:2], self.low.shape[-1])
        return torch.randn(shape, generator=rng, dtype=self.low.dtype, device=moves.device)


@dataclass(frozen=True)
class Draw:
    """All of a rollout but its state and actions: G networks, P particles, and all randomness.

    Particles are dealt to the networks evenly and lie grouped by them, P / G each; `mixed`, one particle follows the
    mean of all. Without noise the last layer gives changes alone, else changes and then raw variances.
    """

    layers: Layers  # of G networks
    relative: Tensor  # (S): 1 where a change is predicted, 0 where the entry itself
    encode: Function | None
    particles: int
    noise: StepNoise | None = None
    met: Tensor | None = None  # (H, P): the network that a particle meets at a step, where that changes (ts1)
    mixed: bool = False
    cache: dict[Any, Any] = field(default_factory=dict, compare=False)  # what an engine makes of it


class RolloutEngine(Protocol):
    """One way to compute trajectories; all agree to rounding."""

    name: str

    def forward(
        self, draw: Draw, first: Tensor, moves: Tensor, save: bool, precision: Precision = "float32"
    ) -> tuple[Tensor, Any]:
        """state (B, S), moves (R, H, A) -> states (R, P, H, S), and what `backward` needs where it is to be saved.

        precision: what will do for the numbers between two layers.
        """
        ...

    def backward(
        self, draw: Draw, first: Tensor, moves: Tensor, states: Tensor, saved: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The gradient of the states (R, P, H, S) -> of state (B, S) and of moves (R, H, A)."""
        ...


class Trajectories(torch.autograd.Function):
    """An engine's states (R, P, H, S) with its gradient."""

    @staticmethod
    def forward(ctx: Any, engine: RolloutEngine, draw: Draw, first: Tensor, moves: Tensor) -> Tensor:
        states, ctx.saved = engine.forward(draw, first, moves, save=True)
        ctx.engine, ctx.draw = engine, draw
        ctx.save_for_backward(first, moves, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor, Tensor]:
        return None, None, *ctx.engine.backward(ctx.draw, *ctx.saved_tensors, ctx.saved, gradient)


def rollout(
    engine: RolloutEngine, draw: Draw, state: Tensor, actions: Tensor, precision: Precision = "float32"
) -> Tensor:
    """state (*B, S), actions (*B, N, H, A) -> states (*B, N, P, H, S); where a gradient is asked for, in float32."""
    first, moves = state.reshape(-1, state.shape[-1]), actions.reshape(-1, *actions.shape[-2:])
    if torch.is_grad_enabled() and (first.requires_grad or moves.requires_grad):
        states: Tensor = Trajectories.apply(engine, draw, first, moves)  # type: ignore[no-untyped-call]
    else:
        states, _ = engine.forward(draw, first.detach(), moves.detach(), save=False, precision=precision)
    return states.reshape(*actions.shape[:-2], *states.shape[1:])
