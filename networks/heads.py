"""Heads: the kind of policy that a network's outputs describe."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional

from elites.fields import Checked, Positive
from elites.networks.action_distributions import ActionDistribution, CategoricalAction, NormalAction, PointAction
from elites.spaces import Choices, Space

LOG_STD = (-20.0, 2.0)
NEAR_ONE = 1 - 1e-6


class Head(ABC):
    """The number of outputs that it needs of a network, and the distribution that they describe."""

    @abstractmethod
    def outputs(self, space: Space) -> int: ...

    def parameters(self, space: Space) -> int:
        """The number of parameters besides the network, equal in every state. They start at 0."""
        return 0

    @property
    def bounded(self) -> bool:
        """Whether its actions are in the unit cube, or one-hot, without clipping."""
        return True

    @abstractmethod
    def __call__(self, outputs: Tensor, parameters: Tensor | None) -> ActionDistribution:
        """(R, outputs), (parameters,) or None -> the distribution at these R states."""

    def raw(self, action: Tensor) -> Tensor:
        """Raw actions (R, A) for actions in unit space that did not come from this head."""
        return action

    def noise(self, rng: Generator, *shape: int) -> Tensor:
        """Noise for `at` of its distributions, (*shape, A). By default it is standard normal."""
        return torch.randn(shape, generator=rng, device=rng.device)


@dataclass(frozen=True)
class Deterministic(Head, Checked):
    """The tanh of the outputs."""

    def outputs(self, space: Space) -> int:
        return space.shape[0]

    def __call__(self, outputs: Tensor, parameters: Tensor | None) -> PointAction:
        return PointAction(outputs.tanh())

    def noise(self, rng: Generator, *shape: int) -> Tensor:
        raise ValueError("head: expected a normal or categorical one for sampled actions, got a deterministic one")


@dataclass(frozen=True)
class NormalHead(Head, Checked):
    """A normal. Its spread can depend on the state.

    bound: `sample` is the tanh of the sample (SAC). `mean` is the tanh of only the mean (AWAC). `none` is no tanh (MPO,
    AWR). spread: from the `state`, from a `free` parameter, or `fixed`. std: the fixed spread, and the spread for
    outputs of 0. form: the standard deviation of an output x. `exp` is std · e^x, with its ln in [-20, 2]. `softplus`
    is std · softplus(x) / ln 2 + 1e-6 (MPO). `sigmoid` is 2 std · sigmoid(x) + 1e-4 (DSPG).
    """

    bound: Literal["sample", "mean", "none"] = "sample"
    spread: Literal["state", "free", "fixed"] = "state"
    std: Positive = 1.0
    form: Literal["exp", "softplus", "sigmoid"] = "exp"

    def outputs(self, space: Space) -> int:
        return (2 if self.spread == "state" else 1) * space.shape[0]

    def parameters(self, space: Space) -> int:
        return space.shape[0] if self.spread == "free" else 0

    @property
    def bounded(self) -> bool:
        return self.bound == "sample"

    def raw(self, action: Tensor) -> Tensor:
        return action.clamp(-NEAR_ONE, NEAR_ONE).atanh() if self.bounded else action

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
        if self.form == "sigmoid":
            return (raw.sigmoid() * (2 * self.std) + 1e-4).log()
        return (raw if self.std == 1 else raw + math.log(self.std)).clamp(*LOG_STD)


@dataclass(frozen=True)
class CategoricalHead(Head, Checked):
    """A head for choices. The outputs are logits. squashed: the logits are their tanh, as in CEM-AH's maze."""

    sizes: tuple[int, ...]
    squashed: bool = False

    def outputs(self, space: Space) -> int:
        return space.shape[0]

    def __call__(self, outputs: Tensor, parameters: Tensor | None) -> CategoricalAction:
        return CategoricalAction(outputs.tanh() if self.squashed else outputs, self.sizes)

    def noise(self, rng: Generator, *shape: int) -> Tensor:
        """Uniform, for the Gumbel maximum."""
        return torch.rand(shape, generator=rng, device=rng.device)


def head_for(space: Space) -> Head:
    """The default head of a policy."""
    return CategoricalHead(space.sizes) if isinstance(space, Choices) else Deterministic()
