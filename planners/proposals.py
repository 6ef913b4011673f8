"""Ways to propose candidates, of which `Blend` uses several at once. Each learns from candidates and their values."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from elites.planners.distributions import Distribution, Refit, SplineKnots, State
from elites.planners.distributions.noise import Noise, over_time, steps
from elites.planners.draw import Draw
from elites.planners.plan import like_state
from elites.planners.weighting import Weighting, like, take
from elites.spaces import Box, Space


class Proposal(ABC):
    tensors: tuple[Tensor, ...]  # the state

    @abstractmethod
    def draw(self, best: Tensor, count: int, draw: Draw) -> Tensor:
        """Points (*B, count, *E). best: the best point so far (*B, *E)."""

    @abstractmethod
    def learn(self, points: Tensor, values: Tensor, better: Tensor, space: Space) -> None:
        """points (*B, n, *E), values (*B, n). better (*B): whether one of them beats the best so far."""

    def load(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tuple(tensors)


class Fitted(Proposal):
    """Draws from a distribution, and fits it. weighting: a number of candidates -> their weighting in the fit."""

    def __init__(
        self, distribution: Distribution, state: State, weighting: Callable[[int], Weighting], refit: Refit
    ) -> None:
        self.distribution, self.tensors, self.weighting, self.refit = distribution, state, weighting, refit

    def draw(self, best: Tensor, count: int, draw: Draw) -> Tensor:
        own = self.distribution.sample(self.tensors, draw.space, count, draw)
        return self.distribution.points(own, draw.space)

    def learn(self, points: Tensor, values: Tensor, better: Tensor, space: Space) -> None:
        index, weights = self.weighting(values.shape[-1])(values)
        chosen = self.distribution.own(take(points, index), space)
        self.tensors = self.distribution.fit(self.tensors, chosen, weights, space, self.refit)

    def load(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = like_state(self.tensors, tensors)


class Around(Proposal):
    """Noise around the best point. Its scale, in half widths, grows with a success and shrinks without one."""

    def __init__(self, noise: Noise, scale: Tensor, grow: float, shrink: float, least: float, most: float) -> None:
        self.noise, self.tensors = noise, (scale,)
        self.grow, self.shrink, self.least, self.most = grow, shrink, least, most

    def draw(self, best: Tensor, count: int, draw: Draw) -> Tensor:
        assert isinstance(draw.space, Box)
        axis, (scale,) = len(draw.batch), self.tensors
        step = like(scale, best).unsqueeze(axis) * draw.space.half * self.noise.draw(draw, count)
        return draw.space.project(best.unsqueeze(axis) + step)

    def learn(self, points: Tensor, values: Tensor, better: Tensor, space: Space) -> None:
        (scale,) = self.tensors
        scale = torch.where(better, scale * self.grow, scale * self.shrink)
        self.tensors = (scale.clamp(self.least, self.most),)


class Mutations(Proposal):
    """The best point, with random choices in a stretch of its steps."""

    tensors = ()

    def draw(self, best: Tensor, count: int, draw: Draw) -> Tensor:
        random = draw.space.uniform(math.prod(draw.batch) * count, draw.rng)
        random = random.reshape(*draw.batch, count, *draw.space.shape)
        mixed = torch.where(stretches(draw, count) > 0, random, best.unsqueeze(len(draw.batch)))
        return draw.space.project(mixed)

    def learn(self, points: Tensor, values: Tensor, better: Tensor, space: Space) -> None:
        """There is nothing to learn."""


# --- noises -----------------------------------------------------------------------------------------------------------


class Curves:
    """Smooth curves through normal knots."""

    spline = SplineKnots()

    def draw(self, draw: Draw, samples: int) -> Tensor:
        return over_time(draw, self.spline.curve(steps(draw.space)), samples)


def stretches(draw: Draw, samples: int) -> Tensor:
    """(*B, samples, *E): 1 in a random stretch of the steps, at most about half of them, and 0 elsewhere.

    A point with one axis has no steps: all of it is one stretch.
    """
    length, others = steps(draw.space), [1] * (len(draw.space.shape) - 1)
    if not others:
        return draw.uniform(samples, 1).new_ones(*draw.batch, samples, 1)
    middle = draw.uniform(samples, 1) * length
    width = 1 + draw.uniform(samples, 1).square() * length / 2
    at = torch.arange(length, dtype=middle.dtype, device=middle.device) + 0.5
    inside = ((at - middle).abs() <= width / 2).to(middle)  # (*B, samples, H)
    return inside.reshape(*inside.shape, *others)
