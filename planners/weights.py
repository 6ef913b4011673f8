"""How scored candidates are re-weighted into the next mean and spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Weights(Protocol):
    def update(self, points: Tensor, values: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """points (*B, N, *E), values (*B, N), mean and std (*B, *E) -> the next mean and std.

        Values are finite or -inf, which has no weight; where all are -inf, mean and std stay.
        """
        ...


@dataclass(frozen=True)
class TopK:
    """The best k equally, with momentum: eq. 2 of the CEM-GD paper. The variance is the biased one, so one elite has 0.

    floor: (*E), the least spread.
    """

    k: int
    alpha: float
    floor: Tensor

    def update(self, points: Tensor, values: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        elites, top = best(points, values, self.k)
        weight = like((top > -torch.inf).to(points.dtype), elites)
        count = weight.sum(values.ndim - 1)
        found, count = count > 0, count.clamp_min(1)
        next_mean = (weight * elites).sum(values.ndim - 1) / count
        deviation = elites - next_mean.unsqueeze(values.ndim - 1)
        next_variance = (weight * deviation.square()).sum(values.ndim - 1) / count
        if self.alpha < 1:
            next_mean = (1 - self.alpha) * mean + self.alpha * next_mean  # (2a)
            next_variance = (1 - self.alpha) * std.square() + self.alpha * next_variance  # (2b)
        next_std = torch.maximum(next_variance.sqrt(), self.floor)
        return torch.where(found, next_mean, mean), torch.where(found, next_std, std)


@dataclass(frozen=True)
class Softmax:
    """exp(value / temperature), normalised: MPPI (Williams et al. 2017, alg. 2). The spread stays.

    standardise: the temperature counts in standard deviations of the values, so that one serves every scale of reward.
    """

    temperature: float
    standardise: bool

    def update(self, points: Tensor, values: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        finite = values > -torch.inf
        advantage = values - values.amax(-1, keepdim=True)
        if self.standardise:
            count = finite.sum(-1, keepdim=True).clamp_min(1)
            known = torch.where(finite, advantage, 0)
            deviation = torch.where(finite, advantage - known.sum(-1, keepdim=True) / count, 0)
            spread = (deviation.square().sum(-1, keepdim=True) / count).sqrt()
            advantage = advantage / spread.clamp_min(torch.finfo(values.dtype).tiny)
        weight = (advantage / self.temperature).exp()
        total = weight.sum(-1, keepdim=True)
        weight = weight / total.clamp_min(torch.finfo(values.dtype).tiny)
        next_mean = (like(weight, points) * points).sum(values.ndim - 1)
        return torch.where(like(total.squeeze(-1) > 0, mean), next_mean, mean), std


@dataclass(frozen=True)
class Best:
    """The best one is the next mean; the spread stays."""

    def update(self, points: Tensor, values: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        points, values = best(points, values, 1)
        axis = values.ndim - 1
        return torch.where(like(values.squeeze(-1) > -torch.inf, mean), points.squeeze(axis), mean), std


def best(points: Tensor, values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best: points (*B, N, *E), values (*B, N) -> (*B, k, *E), (*B, k), best first."""
    values, index = values.max(-1, keepdim=True) if k == 1 else values.topk(k, dim=-1)  # the former is quicker
    index = like(index, points).expand(*index.shape, *points.shape[values.ndim :])
    return points.gather(values.ndim - 1, index), values


def like(x: Tensor, points: Tensor) -> Tensor:
    """(*B, N) -> (*B, N, 1, …), to broadcast against points."""
    return x.reshape(*x.shape, *[1] * (points.ndim - x.ndim))
