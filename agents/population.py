"""A population of policies. Every policy is a point, and all policies act in one batched product a layer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from elites.agents.units import Spaces
from elites.networks.action_distributions import ActionDistribution, CategoricalAction
from elites.networks.architecture import Architecture
from elites.networks.heads import Head, head_for
from elites.networks.layers import ACTIVATIONS, Layer, Normalised, network, tanh
from elites.spaces import Box

LINEAR = Architecture(hidden=())
LANES = 32  # numbers that a processor's loop takes at once


class Population:
    """Policies of one architecture and head. A point (D) has the weights and biases of every layer, in their order.

    sampled: an action is drawn from the policy's distribution. Otherwise it is the most likely one.
    """

    def __init__(
        self, spaces: Spaces, architecture: Architecture = LINEAR, head: Head | None = None, sampled: bool = False
    ) -> None:
        self.spaces, self.architecture, self.sampled = spaces, architecture, sampled
        self.head = head or head_for(spaces.world)
        widths = [spaces.state_size, *architecture.hidden, self.head.outputs(spaces.world)]
        self.normed = {"none": 0, "first": 1, "all": len(architecture.hidden)}[architecture.layer_norm]
        self.shapes: list[tuple[int, ...]] = []
        for layer, (before, after) in enumerate(itertools.pairwise(widths)):
            self.shapes += [(before, after), (1, after)]
            self.shapes += [(1, after), (1, after)] if layer < self.normed else []  # gain less 1, and offset
        self.shapes += [(1, self.head.parameters(spaces.world))]  # a spread that does not depend on the state
        self.size = sum(map(math.prod, self.shapes))  # D

    @property
    def space(self) -> Box:
        """All points, without bounds. The unit of a search's spread is 1."""
        bound = torch.full((self.size,), torch.inf)
        return Box(-bound, bound)

    def layers(self, points: Tensor) -> tuple[list[Layer], Tensor]:
        """The layers of points (N, D), N networks each, and the parameters besides (N, 1, n)."""
        parts = torch.split(points, [math.prod(shape) for shape in self.shapes], 1)
        pieces = (part.reshape(len(points), *shape) for part, shape in zip(parts, self.shapes, strict=True))
        return list(self._layers(pieces)), next(pieces)

    def _layers(self, pieces: Iterator[Tensor]) -> Iterator[Layer]:
        of = self.architecture
        activation = ACTIVATIONS[of.activation]
        for layer in range(len(of.hidden)):
            weight, bias, after = next(pieces), next(pieces), activation
            if layer < self.normed:
                gain, offset = 1 + next(pieces), next(pieces)
                after = Normalised(gain, offset, tanh if of.layer_norm == "first" else activation)
            yield Layer(weight, bias, after)
        yield Layer(next(pieces), next(pieces), None)

    def at(self, points: Tensor, rows: int = 1) -> Policies:
        """The policies of points (N, D), to act at `rows` states each."""
        if points.ndim != 2 or points.shape[1] != self.size:
            raise ValueError(f"points: expected (N, {self.size}) for these policies, got {tuple(points.shape)}")
        return Policies(self, points, rows)


class Policies:
    """N policies of a population. Each acts at R states of its own.

    A policy's actions have the same bits for any N. R alone decides how a batched product is computed. A processor
    computes the last numbers of an array in another way, so idle policies are at the end.
    """

    def __init__(self, of: Population, points: Tensor, rows: int) -> None:
        self.of, self.points, self.each = of, points, rows
        widths = [shape[-1] for shape in of.shapes if shape[-1]]
        self.idle = -(-LANES // (rows * min(widths)))
        padded = torch.cat([points, points.new_zeros(self.idle, of.size)])
        self.layers, free = of.layers(padded)
        self.free = free.expand(-1, rows, -1).flatten(0, 1) if free.shape[-1] else None

    def __len__(self) -> int:
        return len(self.points)

    def rows(self, which: Tensor) -> Policies:
        """The policies with these indices (n,)."""
        return Policies(self.of, self.points[which], self.each)

    def act(self, state: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions in unit space (N, R, A) at states (N, R, S). noise: (N, R, A), for actions that are sampled."""
        of = self._distribution(state)
        return self._inside(of.mode() if noise is None else of.at(self._filled(noise).flatten(0, 1)).action)

    def answers(self, state: Tensor) -> Tensor:
        """The most likely actions in a box, or the probabilities of choices (N, R, A). A hypernetwork imitates them."""
        of = self._distribution(state)
        return self._inside(of.shares() if isinstance(of, CategoricalAction) else of.mode())

    def _distribution(self, state: Tensor) -> ActionDistribution:
        return self.of.head(network(self._filled(state), self.layers).flatten(0, 1), self.free)

    def _inside(self, action: Tensor) -> Tensor:
        inside = action if self.of.head.bounded else action.clamp(-1, 1)
        return inside.reshape(-1, self.each, inside.shape[-1])[: len(self)]

    def _filled(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, 0, 0, 0, 0, self.idle))

    def noise(self, rngs: Sequence[Generator], steps: int) -> Tensor | None:
        """The noise of several steps (N, steps, R, A), or None. Every policy draws from a generator of its own."""
        if not self.of.sampled:
            return None
        size = self.of.spaces.action_size
        return torch.stack([self.of.head.noise(rng, steps, self.each, size) for rng in rngs])
