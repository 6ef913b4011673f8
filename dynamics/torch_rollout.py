"""Trajectories in torch, on every device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elites.dynamics.rollout import Draw
from elites.networks.engine import Precision
from elites.networks.layers import Function, silu


class TorchRollout:
    """Computes step by step in buffers made once. The gradient is the chain rule by hand, last step first."""

    name = "torch"

    def forward(
        self, draw: Draw, first: Tensor, moves: Tensor, save: bool, precision: Precision = "float32"
    ) -> tuple[Tensor, Any]:
        (rows, horizon, _), size, count = moves.shape, first.shape[-1], draw.particles
        states = moves.new_empty(rows, count, horizon, size)
        state = _copies(first, rows, count)  # (P, R, S)
        inputs = moves.new_empty(count, rows, draw.layers[0].weight.shape[1])
        hidden: list[Tensor] = []
        saved = []
        noise = None if draw.noise is None else draw.noise.of(count, moves)
        for t in range(horizon):
            place = None if draw.met is None else draw.met[t].argsort(stable=True)  # particles sorted by network
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
            if draw.noise and noise is not None:
                low, high = draw.noise.low, draw.noise.high
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
        groups, inputs = draw.layers[0].weight.shape[:2]
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
    """(B, S) -> (P, R, S): repeats every problem's state for its candidates and particles."""
    return first.repeat_interleave(rows // len(first), 0).expand(particles, -1, -1)


def _buffers(draw: Draw, inputs: Tensor) -> list[Tensor]:
    """A buffer for every layer's output (G, rows, out)."""
    groups = len(draw.layers[0].weight)
    rows = inputs.shape[1] if draw.mixed else inputs.shape[0] * inputs.shape[1] // groups
    return [inputs.new_empty(groups, rows, weight.shape[2]) for weight, *_ in draw.layers]


def _through(draw: Draw, inputs: Tensor, hidden: list[Tensor], save: bool) -> Tensor:
    """inputs (P, R, in) -> (G, rows, out). If `save`, `hidden` keeps the values before the activations."""
    groups = len(hidden[0])
    x = inputs.expand(groups, -1, -1) if draw.mixed else inputs.reshape(groups, -1, inputs.shape[-1])
    for (weight, bias, activation), z in zip(draw.layers, hidden, strict=True):
        torch.baddbmm(bias, x, weight, out=z)
        if activation is not None:
            x = activation(z.clone() if save else z)
    return hidden[-1]


def _back(draw: Draw, gradient: Tensor, hidden: list[Tensor]) -> Tensor:
    """The gradient for a network's output (G, rows, out) -> the gradient for its input (G, rows, in)."""
    for (weight, _, activation), z in zip(reversed(draw.layers), reversed(hidden), strict=True):
        if activation is not None:
            gradient = _pulled(activation, z, gradient)
        gradient = torch.bmm(gradient, weight.transpose(1, 2))
    return gradient


def _pulled(function: Function, x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient for function(x) -> the gradient for x."""
    if function is silu:
        return torch.ops.aten.silu_backward(gradient, x)  # type: ignore[no-any-return]
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(function(x), x, gradient)[0]
