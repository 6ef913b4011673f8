"""Draws choices by their frequencies among the elites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from elites.fields import Checked
from elites.planners.distributions.distribution import Fill, Refit, State, filling, moved, relative
from elites.planners.distributions.noise import Noise, White
from elites.planners.draw import Draw
from elites.planners.weighting import like
from elites.spaces import Choices, Space


class Frequencies(NamedTuple):
    share: Tensor  # (*B, *E): the frequency of every answer; the answers to one question sum to 1
    uniform: Tensor  # (*B, *E): the share of uniform draws; this distribution's spread


@dataclass(frozen=True)
class Categorical(Checked):
    """p = (1 - u) f + u / K for each of a question's K answers: f is its frequency, u the share of uniform draws.

    The answer drawn is the argmax of ln p + a Gumbel number, -ln(-ln Φ(ε)). So ε can be correlated in time.
    """

    noise: Noise = White()  # how the samples are correlated in time

    def begin(self, space: Space, batch: tuple[int, ...], spread: float) -> State:
        even = uniform_share(space).expand(*batch, *space.shape)
        return Frequencies(even, self._first(even, spread))

    def around(self, space: Space, point: Tensor, spread: float) -> State:
        return Frequencies(point, self._first(point, spread))

    def renewed(self, state: State, space: Space, spread: float) -> State:
        share, _ = state
        return Frequencies(share, self._first(share, spread))

    def shifted(self, state: State, space: Space, steps: int, fill: Fill) -> State:
        share, uniform = state
        time = share.ndim - len(space.shape)
        return Frequencies(moved(share, time, steps, filling(space, fill)), moved(uniform, time, steps, None))

    def sample(self, state: State, space: Space, count: int, draw: Draw) -> Tensor:
        share, uniform = state
        axis = len(draw.batch)
        weight = torch.lerp(share, uniform_share(space).expand_as(share), uniform).log()
        limit = torch.finfo(weight.dtype).eps
        order = torch.special.ndtr(self.noise.draw(draw, count)).clamp(limit, 1 - limit)
        return choices_of(space).project(weight.unsqueeze(axis) - (-order.log()).log())

    def points(self, own: Tensor, space: Space) -> Tensor:
        return own

    def own(self, points: Tensor, space: Space) -> Tensor:
        return points

    def fit(self, state: State, own: Tensor, weights: Tensor, space: Space, refit: Refit) -> State:
        """f ← (1 - α) f + α frequencies, u ← (1 - α) u. u never falls below the floor."""
        share, uniform = state
        scaled, total, counts = relative(weights)
        counts = like(counts, share)
        found = (like(scaled, own) * own).sum(weights.ndim - 1) / like(total, share)
        next_share = found if refit.centre == 1 else torch.lerp(share, found, refit.centre)
        next_uniform = uniform
        if refit.spread > 0:
            next_uniform = ((1 - refit.spread) * uniform).clamp_min(min(refit.floor, 1.0))
        return Frequencies(torch.where(counts, next_share, share), torch.where(counts, next_uniform, uniform))

    def centre(self, state: State, space: Space) -> Tensor:
        """The most frequent answers."""
        return space.project(state[0])

    def _first(self, share: Tensor, spread: float) -> Tensor:
        return torch.full_like(share, min(spread, 1.0))


def uniform_share(space: Space) -> Tensor:
    """(*E): 1 / K for each of a question's K answers."""
    space = choices_of(space)
    each = [torch.full((size,), 1 / size, dtype=space.dtype, device=space.device) for size in space.sizes]
    return torch.cat(each).expand(space.shape)


def choices_of(space: Space) -> Choices:
    if not isinstance(space, Choices):
        raise ValueError(f"Categorical: expected Choices to draw from, got {space!r}")
    return space
