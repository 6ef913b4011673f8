"""Elites of earlier rounds. A search on a noisy objective refits to them as well, so its spread dies more slowly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from elites.fields import Checked, Count, Fraction, Range
from elites.planners.weighting import best, like


class Remembered(NamedTuple):
    """A value of -inf stands for no candidate yet."""

    own: Tensor  # (*B, M, k, *U): the elites of M rounds, the oldest first
    values: Tensor  # (*B, M, k)
    best: Tensor  # (*B, n, *U): the best of all rounds, the best first
    best_values: Tensor  # (*B, n)


@dataclass(frozen=True)
class EliteMemory(Checked):
    """The memory of CEM-AH's published code: elites of the last rounds whose mean was at least that of the memory.

    The fit is to all of them, and to the best candidates of all rounds, which get `share` of the weight.
    """

    rounds: Count = 25  # M: rounds that it remembers
    best: Annotated[int, Range(0)] = 50  # the number of best candidates
    share: Fraction = 0.2  # their share of the weight

    def begin(self, own: Tensor, values: Tensor) -> Remembered:
        """The empty memory, for elites (*B, k, *U) with values (*B, k)."""
        axis = values.ndim - 1
        ring = own.unsqueeze(axis).expand(*own.shape[:axis], self.rounds, *own.shape[axis:])
        first = own.narrow(axis, 0, 1).expand(*own.shape[:axis], self.best, *own.shape[axis + 1 :])
        nothing = values.new_full((), -torch.inf)
        lead = values.shape[:-1]
        return Remembered(
            ring, nothing.expand(*lead, self.rounds, values.shape[-1]), first, nothing.expand(*lead, self.best)
        )

    def taken(self, kept: Remembered, own: Tensor, values: Tensor) -> Remembered:
        """Takes elites (*B, k, *U) with values (*B, k). A value of -inf does not count."""
        axis = values.ndim - 1
        admitted = _mean(values) >= _mean(kept.values.flatten(-2))
        ring = torch.cat([kept.own.narrow(axis, 1, self.rounds - 1), own.unsqueeze(axis)], axis)
        ring_values = torch.cat([kept.values.narrow(axis, 1, self.rounds - 1), values.unsqueeze(axis)], axis)
        ring = torch.where(like(admitted, ring), ring, kept.own)
        ring_values = torch.where(like(admitted, ring_values), ring_values, kept.values)
        if not self.best:
            return Remembered(ring, ring_values, kept.best, kept.best_values)
        pair = torch.cat([kept.best, own], axis), torch.cat([kept.best_values, values], -1)
        return Remembered(ring, ring_values, *best(*pair, self.best))

    def weighted(self, kept: Remembered) -> tuple[Tensor, Tensor]:
        """The candidates (*B, M k + n, *U) of a fit, and their weights, which sum to 1; or to 0 if there are none."""
        axis = kept.best_values.ndim - 1
        own = torch.cat([kept.own.flatten(axis, axis + 1), kept.best], axis)
        parts = [(kept.values.flatten(-2) > -torch.inf, 1 - self.share), (kept.best_values > -torch.inf, self.share)]
        if not self.best:
            parts = [(parts[0][0], 1.0), (parts[1][0], 0.0)]
        each = [share * there / there.sum(-1, keepdim=True).clamp_min(1) for there, share in parts]
        return own, torch.cat(each, -1)


def _mean(values: Tensor) -> Tensor:
    """(*B, n) -> (*B): the mean of the values that are not -inf, or -inf."""
    there = values > -torch.inf
    total = torch.where(there, values, 0.0).sum(-1)
    return torch.where(there.any(-1), total / there.sum(-1).clamp_min(1), -torch.inf)
