"""A whole trajectory through networks, with actions that a policy gives for each state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from elites.dynamics.dynamics import Act
from elites.dynamics.rollout import Draw
from elites.networks.engine import Precision
from elites.networks.layers import Function, Layers, network
from elites.networks.native import engine_for


@dataclass(frozen=True, eq=False)
class TanhPolicies:
    """R policies that an engine can compute: centre + half · tanh of a network's outputs.

    act: the same in torch. layers: R networks. inputs: states (..., S) -> the networks' inputs (..., F); None is the
    states themselves.
    """

    act: Act
    layers: Layers
    inputs: Function | None
    centre: Tensor  # (A)
    half: Tensor  # (A)

    def __call__(self, state: Tensor) -> Tensor:
        return self.act(state)


def react(
    draw: Draw, first: Tensor, act: Act, rows: int, horizon: int, precision: Precision = "float32"
) -> tuple[Tensor, Tensor, str]:
    """state (B, S) for `rows` candidates -> actions (R, P, H, A), states (R, P, H, S), and the engine's name.

    Every particle has actions of its own. They have gradients for the state and for what the policy depends on, in
    float32.
    """
    count = draw.particles
    state = first.repeat_interleave(rows // len(first), 0).expand(count, -1, -1)  # (P, R, S)
    action = act(state.transpose(0, 1)).transpose(0, 1)
    compute, engine = _networks(draw, state, action, precision)
    noise = None if draw.noise is None else draw.noise.of(count, state.new_empty(rows, horizon, 0))
    actions, states = [], []
    for t in range(horizon):
        if t:
            action = act(state.transpose(0, 1)).transpose(0, 1)
        place = None if draw.met is None else draw.met[t].argsort(stable=True)  # particles sorted by network
        state = _step(draw, compute, state, action, None if noise is None else noise[:, :, t], place)
        actions.append(action.transpose(0, 1))
        states.append(state.transpose(0, 1))
    return torch.stack(actions, 2), torch.stack(states, 2), engine


def _networks(draw: Draw, state: Tensor, action: Tensor, precision: Precision) -> tuple[Function, str]:
    """The networks as a function of inputs (G, rows, in), and its engine. Only torch has gradients."""
    if torch.is_grad_enabled() and (state.requires_grad or action.requires_grad):
        return lambda x: network(x, draw.layers), "torch"
    engine = engine_for(draw.layers, state, action)
    key = ("closed loop", precision)
    if key not in draw.cache:
        draw.cache[key] = engine.function(draw.layers, precision)
    return draw.cache[key], engine.name


def _step(
    draw: Draw, compute: Function, state: Tensor, action: Tensor, epsilon: Tensor | None, place: Tensor | None
) -> Tensor:
    """(P, R, S), (P, R, A) and noise (P, R or 1, S) -> the next states (P, R, S). place: the particles' order (P)."""
    count, rows, size = state.shape
    groups = len(draw.layers[0].weight)
    here, moves = (state, action) if place is None else (state[place], action[place])
    seen = here if draw.encode is None else draw.encode(here.reshape(count * rows, size)).reshape(count, rows, -1)
    inputs = torch.cat([seen, moves], -1)
    x = inputs.expand(groups, -1, -1) if draw.mixed else inputs.reshape(groups, -1, inputs.shape[-1])
    change, *raw = torch.split(compute(x), size, -1)
    change = change.mean(0, keepdim=True) if draw.mixed else change.reshape(count, rows, size)
    after = here * draw.relative + change
    if draw.noise and epsilon is not None:
        variance = draw.noise.low + draw.noise.high * raw[0].sigmoid()
        std = variance.sqrt().reshape(count, rows, size)
        after = after + std * (epsilon if place is None else epsilon[place])
    return after if place is None else after[place.argsort()]
