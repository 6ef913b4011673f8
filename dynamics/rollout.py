"""A whole trajectory through networks, and its gradient: one operation with two engines."""

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
    """The noise that a step adds: ε √(low + high σ(raw))."""

    low: Tensor  # (G, 1, S)
    high: Tensor  # (G, 1, S)
    epsilon: Tensor | int  # (P, 1, H, S); for independent noise, (P, R, H, S) or a seed

    def of(self, particles: int, moves: Tensor) -> Tensor:
        """ε as a tensor, for moves (R, H, A)."""
        if isinstance(self.epsilon, Tensor):
            return self.epsilon
        rng = Generator(moves.device).manual_seed(self.epsilon)
        shape = (particles, *moves.shape[:2], self.low.shape[-1])
        return torch.randn(shape, generator=rng, dtype=self.low.dtype, device=moves.device)


@dataclass(frozen=True)
class Draw:
    """A rollout's data except state and actions: G networks, P particles, and all randomness.

    Particles are grouped by network, P / G each. If `mixed`, one particle follows the mean of all networks. Without
    noise the last layer gives only changes. With noise it gives changes, then raw variances. Weights must not change
    while a draw is used.
    """

    layers: Layers  # each with G networks
    relative: Tensor  # (S): 1 if the networks predict the change of an entry, 0 if they predict the entry
    encode: Function | None
    particles: int
    noise: StepNoise | None = None
    met: Tensor | None = None  # (H, P): the network of a particle at a step, for ts1
    mixed: bool = False
    cache: dict[Any, Any] = field(default_factory=dict, compare=False)  # an engine's own form of the draw


class RolloutEngine(Protocol):
    """One way to compute trajectories. All engines agree to rounding."""

    name: str

    def forward(
        self, draw: Draw, first: Tensor, moves: Tensor, save: bool, precision: Precision = "float32"
    ) -> tuple[Tensor, Any]:
        """state (B, S), moves (R, H, A) -> states (R, P, H, S), and the data for `backward` if `save`.

        precision: the number format allowed between two layers.
        """
        ...

    def backward(
        self, draw: Draw, first: Tensor, moves: Tensor, states: Tensor, saved: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The gradient for states (R, P, H, S) -> the gradients for state (B, S) and moves (R, H, A)."""
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
    """state (*B, S), actions (*B, N, H, A) -> states (*B, N, P, H, S); in float32 if a gradient is needed."""
    first, moves = state.reshape(-1, state.shape[-1]), actions.reshape(-1, *actions.shape[-2:])
    if torch.is_grad_enabled() and (first.requires_grad or moves.requires_grad):
        states: Tensor = Trajectories.apply(engine, draw, first, moves)  # type: ignore[no-untyped-call]
    else:
        states, _ = engine.forward(draw, first.detach(), moves.detach(), save=False, precision=precision)
    return states.reshape(*actions.shape[:-2], *states.shape[1:])
