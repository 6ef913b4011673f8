"""Heads: what kind of policy a network's outputs are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from elites.fields import Checked, Positive
from elites.networks.action_distributions import ActionDistribution, CategoricalAction, NormalAction, PointAction
from elites.spaces import Choices, Space

LOG_STD = (-20.0, 2.0)


class Head(ABC):
    """How many outputs it needs of the network, and the distribution that they are."""

    @abstractmethod
    def outputs(self, space: Space) -> int: ...

    def parameters(self, space: Space) -> int:
        """Numbers that are learned beside the network, the same in every state; all begin at 0."""
        return 0

    @property
    def bounded(self) -> bool:
        """Whether its actions are points of the unit cube, or one-hot, without being clipped."""
        return True

    @abstractmethod
    def __call__(self, outputs: Tensor, parameters: Tensor | None) -> ActionDistribution:
        """(R, outputs), (parameters,) where there are any -> the distribution at these R states."""


@dataclass(frozen=True)
class Deterministic(Head, Checked):
    """The tanh of the outputs."""

    def outputs(self, space: Space) -> int:
        return space.shape[0]

    def __call__(self, outputs: Tensor, parameters: Tensor | None) -> PointAction:
        return PointAction(outputs.tanh())


@dataclass(frozen=True)
class NormalHead(Head, Checked):
    """A normal, whose spread may depend on the state.

    bound: `sample`, the tanh of what was drawn (SAC); `mean`, the tanh of the mean alone (AWAC); `none` (MPO, AWR).
    spread: of the `state`, of a `free` parameter, or `fixed`. std: what is fixed, and what outputs of 0 mean. form: of
    an output x the standard deviation is std · e^x with -20 <= ln of it <= 2, or std · softplus(x) / ln 2 + 1e-6 (MPO).
    """

    bound: Literal["sample", "mean", "none"] = "sample"
    spread: Literal["state", "free", "fixed"] = "state"
    std: Positive = 1.0
    form: Literal["exp", "softplus"] = "exp"

    def outputs(self, space: Space) -> int:
        return (2 if self.spread == "state" else 1) * space.shape[0]

    def parameters(self, space: Space) -> int:
        return space.shape[0] if self.spread == "free" else 0

    @property
    def bounded(self) -> bool:
        return self.bound == "sample"

    def __call__(self, outputs: Tensor, parameters: Tensor | None) -> NormalAction:
        mean = outputs
        if self.spread == "fixed":
            log_std = torch.full_like(mean, math.log(self.std))
        elif parameters is not None:
            log_std = self._log_std(parameters).expand_as(mean)
        else:
            mean, raw = outputs.chunk(2, -1)
            log_std = self._log_std(raw)
        return NormalAction(mean.tanh() if self.bound == "mean" else mean, log_std, squashed=self.bound == "sample")

    def _log_std(self, raw: Tensor) -> Tensor:
        if self.form == "softplus":
            return (functional.softplus(raw) * (self.std / math.log(2)) + 1e-6).log()
        return (raw if self.std == 1 else raw + math.log(self.std)).clamp(*LOG_STD)


@dataclass(frozen=True)
class CategoricalHead(Head, Checked):
    """For choices: the outputs are logits."""

    sizes: tuple[int, ...]

    def outputs(self, space: Space) -> int:
        return space.shape[0]

    def __call__(self, outputs: Tensor, parameters: Tensor | None) -> CategoricalAction:
        return CategoricalAction(outputs, self.sizes)


def head_for(space: Space) -> Head:
    """What a policy has that is told nothing else."""
    return CategoricalHead(space.sizes) if isinstance(space, Choices) else Deterministic()
