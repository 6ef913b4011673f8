"""A whole trajectory through an ensemble, and its gradient: in torch, on every device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

Layers = list[tuple[Tensor, Tensor]]
Function = Callable[[Tensor], Tensor]
Precision = Literal["float32", "bfloat16", "float16", "fastest"]  # of 16 bits, where it knows any


@dataclass(frozen=True)
class Spread:
    """A step adds ε times the root of the variance low + high σ(raw)."""

    low: Tensor  # (G, 1, S)
    high: Tensor  # (G, 1, S)
    epsilon: Tensor | int  # (P, 1, H, S); or (P, R, H, S) or a seed where every candidate has its own

    def noise(self, particles: int, moves: Tensor) -> Tensor:
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
    mean of all. Without noise the last layer gives changes alone, else changes and then raw variances. What the first
    layer makes of all that a problem's candidates have in common may be in its bias.
    """

    layers: Layers  # (G, in, out) and (G, 1, out); of the first (G, B, out) where each of B problems has its own
    relative: Tensor  # (S): 1 where a change is predicted, 0 where the entry itself
    encode: Function | None
    activation: Function
    particles: int
    spread: Spread | None = None  # None is no noise
    met: Tensor | None = None  # (H, P): the network that a particle meets at a step, where that changes (ts1)
    mixed: bool = False
    cache: dict[Any, Any] = field(default_factory=dict, compare=False)  # what an engine makes of it


def silu(x: Tensor) -> Tensor:
    return functional.silu(x, inplace=not x.requires_grad)


def network(x: Tensor, layers: Layers, activation: Function = silu) -> Tensor:
    """(M, R, in) -> (M, R, out): one batched product a layer, an activation between them."""
    for weight, bias in layers[:-1]:
        x = activation(torch.baddbmm(bias, x, weight))
    weight, bias = layers[-1]
    return torch.baddbmm(bias, x, weight)


class Engine(Protocol):
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
    def forward(ctx: Any, engine: Engine, draw: Draw, first: Tensor, moves: Tensor) -> Tensor:
        states, ctx.saved = engine.forward(draw, first, moves, save=True)
        ctx.engine, ctx.draw = engine, draw
        ctx.save_for_backward(first, moves, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor, Tensor]:
        return None, None, *ctx.engine.backward(ctx.draw, *ctx.saved_tensors, ctx.saved, gradient)


def rollout(engine: Engine, draw: Draw, state: Tensor, actions: Tensor, precision: Precision = "float32") -> Tensor:
    """state (*B, S), actions (*B, N, H, A) -> states (*B, N, P, H, S); where a gradient is asked for, in float32."""
    first, moves = state.reshape(-1, state.shape[-1]), actions.reshape(-1, *actions.shape[-2:])
    if torch.is_grad_enabled() and (first.requires_grad or moves.requires_grad):
        states: Tensor = Trajectories.apply(engine, draw, first, moves)  # type: ignore[no-untyped-call]
    else:
        states, _ = engine.forward(draw, first.detach(), moves.detach(), save=False, precision=precision)
    return states.reshape(*actions.shape[:-2], *states.shape[1:])


class Torch:
    """Step by step in buffers that are made once, and the chain rule by hand from the last step to the first."""

    name = "torch"

    def forward(
        self, draw: Draw, first: Tensor, moves: Tensor, save: bool, precision: Precision = "float32"
    ) -> tuple[Tensor, Any]:
        (rows, horizon, _), size, count = moves.shape, first.shape[-1], draw.particles
        states = moves.new_empty(rows, count, horizon, size)
        state = _copies(first, rows, count)  # (P, R, S)
        inputs = moves.new_empty(count, rows, draw.layers[0][0].shape[1])
        hidden: list[Tensor] = []
        saved = []
        noise = None if draw.spread is None else draw.spread.noise(count, moves)
        for t in range(horizon):
            place = None if draw.met is None else draw.met[t].argsort(stable=True)  # particles, network by network
            here = state if place is None else state[place]
            seen = here if draw.encode is None else draw.encode(here.reshape(count * rows, size))
            features = seen.shape[-1]
            inputs[..., :features] = seen.reshape(count, rows, features)
            inputs[..., features:] = moves[:, t]
            if not hidden or save:
                hidden = _buffers(draw, inputs)
            change, *raw = torch.split(_through(draw, inputs, hidden, save), size, -1)
            change = change.mean(0, keepdim=True) if draw.mixed else change.reshape(count, rows, size)
            state = torch.addcmul(change, here, draw.relative)
            rate = None
            if draw.spread and noise is not None:
                low, high = draw.spread.low, draw.spread.high
                epsilon = noise[:, :, t] if place is None else noise[place, :, t]
                share = raw[0].sigmoid()
                std = torch.addcmul(low, high, share).sqrt_()
                if save:  # ε d√var / d raw
                    rate = (high * share * (1 - share) / (2 * std)).reshape(state.shape) * epsilon
                state.addcmul_(std.reshape(state.shape), epsilon)
            if place is not None:
                state = state[place.argsort()]
            states[:, :, t] = state.transpose(0, 1)
            saved.append((hidden, rate))
        return states, saved

    def backward(
        self, draw: Draw, first: Tensor, moves: Tensor, states: Tensor, saved: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows, count, horizon, size = states.shape
        groups, inputs = draw.layers[0][0].shape[:2]
        features = inputs - moves.shape[-1]
        to_moves, carried = torch.empty_like(moves), states.new_zeros(count, rows, size)
        for t in reversed(range(horizon)):
            place = None if draw.met is None else draw.met[t].argsort(stable=True)
            before = states[:, :, t - 1].transpose(0, 1) if t else _copies(first, rows, count)
            back = carried + gradient[:, :, t].transpose(0, 1)  # (P, R, S)
            if place is not None:
                before, back = before[place], back[place]
            hidden, rate = saved[t]
            output = back if rate is None else torch.cat([back, back * rate], -1)
            if draw.mixed:
                output = (output / groups).expand(groups, -1, -1)
            to_inputs = _back(draw, output.reshape(groups, -1, output.shape[-1]), hidden)
            to_inputs = to_inputs.sum(0, keepdim=True) if draw.mixed else to_inputs.reshape(count, rows, inputs)
            to_moves[:, t] = to_inputs[..., features:].sum(0)
            seen = to_inputs[..., :features]
            if draw.encode is not None:
                seen = _pulled(draw.encode, before.reshape(-1, size), seen.reshape(-1, features)).reshape(back.shape)
            carried = torch.addcmul(seen, back, draw.relative)
            if place is not None:
                carried = carried[place.argsort()]
        return carried.sum(0).reshape(len(first), -1, size).sum(1), to_moves


def _copies(first: Tensor, rows: int, particles: int) -> Tensor:
    """(B, S) -> (P, R, S): every problem's state to its candidates and their particles."""
    return first.repeat_interleave(rows // len(first), 0).expand(particles, -1, -1)


def _buffers(draw: Draw, inputs: Tensor) -> list[Tensor]:
    """For every layer's output (G, rows, out)."""
    groups = len(draw.layers[0][0])
    rows = inputs.shape[1] if draw.mixed else inputs.shape[0] * inputs.shape[1] // groups
    return [inputs.new_empty(groups, rows, weight.shape[2]) for weight, _ in draw.layers]


def _through(draw: Draw, inputs: Tensor, hidden: list[Tensor], save: bool) -> Tensor:
    """inputs (P, R, in) -> (G, rows, out); what is saved of the hidden layers is before their activation."""
    groups = len(hidden[0])
    x = inputs.expand(groups, -1, -1) if draw.mixed else inputs.reshape(groups, -1, inputs.shape[-1])
    for (weight, bias), z in zip(draw.layers, hidden, strict=True):
        if bias.shape[1] > 1:  # (G, B, out) -> (G, rows, out), the same for all candidates and particles
            rows = inputs.shape[1]
            bias = bias.repeat_interleave(rows // bias.shape[1], 1).repeat(1, z.shape[1] // rows, 1)
        torch.baddbmm(bias, x, weight, out=z)
        if z is not hidden[-1]:
            x = draw.activation(z.clone() if save else z)
    return hidden[-1]


def _back(draw: Draw, gradient: Tensor, hidden: list[Tensor]) -> Tensor:
    """The gradient of a network's output (G, rows, out) -> of its input (G, rows, in)."""
    for (weight, _), z in zip(reversed(draw.layers), [*reversed(hidden[:-1]), None], strict=True):
        gradient = torch.bmm(gradient, weight.transpose(1, 2))
        if z is not None:
            gradient = _pulled(draw.activation, z, gradient)
    return gradient


def _pulled(function: Function, x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of function(x) -> of x."""
    if function is silu:
        return torch.ops.aten.silu_backward(gradient, x)  # type: ignore[no-any-return]
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(function(x), x, gradient)[0]
