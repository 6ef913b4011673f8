"""The actions of a policy at R states, as distributions. A head makes them from a network's outputs.

A raw action is the action before a tanh, or before a policy clips it. Densities are in unit space. With a tanh,
they are densities of the action; without a tanh, of the raw action.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Generator, Tensor
from torch.nn import functional

from elites.networks import squash

Kind = TypeVar("Kind", bound="ActionDistribution")


class Sample(NamedTuple):
    """Drawn actions. Those of a normal have a gradient for its mean and spread."""

    action: Tensor  # (R, A)
    raw: Tensor  # (R, A)
    log_density: Tensor  # (R,)


class ActionDistribution(ABC):
    """A distribution over actions (R, A)."""

    @abstractmethod
    def sample(self, rng: Generator) -> Sample: ...

    @abstractmethod
    def at(self, noise: Tensor) -> Sample:
        """The sample for this noise (R, A), as the head's `noise` draws it."""

    @abstractmethod
    def log_density(self, raw: Tensor) -> Tensor:
        """ln π of stored raw actions (R, A) -> (R,)."""

    def rows(self: Kind, which: Tensor) -> Kind:
        """The distributions of these rows (n,)."""
        return self._each(lambda x: x[which])

    def repeated(self: Kind, count: int) -> Kind:
        """Every row `count` times in a row: R · count rows."""
        return self._each(lambda x: x.repeat_interleave(count, 0))

    def _each(self: Kind, change: Callable[[Tensor], Tensor]) -> Kind:
        of: Any = self
        tensors = {field.name: getattr(of, field.name) for field in fields(of)}
        return cast("Kind", replace(of, **{name: change(x) for name, x in tensors.items() if isinstance(x, Tensor)}))

    @abstractmethod
    def mode(self) -> Tensor:
        """The action of the most likely raw action (R, A)."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """The entropy (R,), if it has a closed form."""

    @abstractmethod
    def divergence(self: Kind, other: Kind) -> Tensor:
        """KL(this ‖ other) for each dimension, or for each question of choices (R, A)."""


@dataclass(frozen=True)
class PointAction(ActionDistribution):
    """A single action with probability 1. It has no density and no entropy."""

    action: Tensor  # (R, A)

    def sample(self, rng: Generator) -> Sample:
        raise ValueError(_NO_DENSITY)

    def at(self, noise: Tensor) -> Sample:
        raise ValueError(_NO_DENSITY)

    def log_density(self, raw: Tensor) -> Tensor:
        raise ValueError(_NO_DENSITY)

    def mode(self) -> Tensor:
        return self.action

    def entropy(self) -> Tensor:
        raise ValueError(_NO_DENSITY)

    def divergence(self, other: PointAction) -> Tensor:
        raise ValueError(_NO_DENSITY)


_NO_DENSITY = "head: expected a normal or categorical one, which has a density, got a deterministic one"


@dataclass(frozen=True)
class NormalAction(ActionDistribution):
    """Independent normals, or their tanh if `squashed`."""

    mean: Tensor  # (R, A)
    log_std: Tensor  # (R, A)
    squashed: bool = False

    def sample(self, rng: Generator) -> Sample:
        return self.at(torch.randn(self.mean.shape, generator=rng, dtype=self.mean.dtype, device=self.mean.device))

    def at(self, noise: Tensor) -> Sample:
        """The sample mean + std · noise, for standard normal noise (R, A)."""
        if self.squashed and squash.serves(self.mean, self.log_std):
            return Sample(*squash.squashed(self.mean, self.log_std, noise))
        raw = self.mean + self.log_std.exp() * noise
        log_density = self._log_density(raw, noise)
        return Sample(raw.tanh() if self.squashed else raw, raw, log_density)

    def log_density(self, raw: Tensor) -> Tensor:
        return self._log_density(raw, (raw - self.mean) / self.log_std.exp())

    def _log_density(self, raw: Tensor, epsilon: Tensor) -> Tensor:
        normal = -0.5 * epsilon.square() - self.log_std - 0.5 * math.log(2 * math.pi)
        if not self.squashed:
            return normal.sum(-1)
        return (normal - squash.log_slope(raw)).sum(-1)

    def mode(self) -> Tensor:
        return self.mean.tanh() if self.squashed else self.mean

    def entropy(self) -> Tensor:
        """Σ ln σ + ½ ln 2πe. A squashed normal has no closed form; -log_density of samples estimates it."""
        if self.squashed:
            raise ValueError("entropy: expected a normal without a tanh, got a squashed one; -log_density estimates it")
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def divergence(self, other: NormalAction) -> Tensor:
        """ln σ₂/σ₁ + (σ₁² + (μ₁ - μ₂)²) / 2σ₂² - ½. A tanh of both does not change it."""
        ratio = (2 * (self.log_std - other.log_std)).exp()
        distance = (self.mean - other.mean).square() * (-2 * other.log_std).exp()
        return 0.5 * (ratio + distance - 1) - (self.log_std - other.log_std)


@dataclass(frozen=True)
class CategoricalAction(ActionDistribution):
    """Independent answers to several questions: one-hot rows side by side, like the points of `Choices`."""

    logits: Tensor  # (R, sum(sizes))
    sizes: tuple[int, ...]

    def sample(self, rng: Generator) -> Sample:
        return self.at(torch.rand(self.logits.shape, generator=rng, dtype=self.logits.dtype, device=self.logits.device))

    def at(self, noise: Tensor) -> Sample:
        """The Gumbel maximum for uniform noise. Only the log density has a gradient."""
        tiny = torch.finfo(noise.dtype).tiny
        raw = self._one_hot(self.logits.detach() - (-noise.clamp_min(tiny).log()).clamp_min(tiny).log())
        return Sample(raw, raw, self.log_density(raw))

    def log_density(self, raw: Tensor) -> Tensor:
        return (raw * self._log_shares()).sum(-1)

    def mode(self) -> Tensor:
        return self._one_hot(self.logits)

    def shares(self) -> Tensor:
        """The probability of every answer (R, sum(sizes))."""
        return self._log_shares().exp()

    def entropy(self) -> Tensor:
        return torch.stack([-(log.exp() * log).sum(-1) for log in self._blocks(self._log_shares())]).sum(0)

    def divergence(self, other: CategoricalAction) -> Tensor:
        both = zip(self._blocks(self._log_shares()), self._blocks(other._log_shares()), strict=True)
        return torch.stack([(mine.exp() * (mine - theirs)).sum(-1) for mine, theirs in both], -1)

    def _blocks(self, x: Tensor) -> tuple[Tensor, ...]:
        return torch.split(x, list(self.sizes), -1)

    def _log_shares(self) -> Tensor:
        return torch.cat([block.log_softmax(-1) for block in self._blocks(self.logits)], -1)

    def _one_hot(self, x: Tensor) -> Tensor:
        blocks = [functional.one_hot(block.argmax(-1), block.shape[-1]) for block in self._blocks(x)]
        return torch.cat(blocks, -1).to(x.dtype)
