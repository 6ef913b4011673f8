"""The weight of each scored candidate in the next fit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# values (*B, N), finite or -inf -> the indices of the candidates that count (*B, k), and their weights (*B, k).
# Weights sum to 1, or are all 0 if `teaches` is False.
Weighting = Callable[[Tensor], tuple[Tensor, Tensor]]


def teaches(values: Tensor) -> Tensor:
    """(*B, N) -> (*B, 1): whether exactly one value is finite, or several are and differ. A tie teaches nothing."""
    finite = values > -torch.inf
    least = torch.where(finite, values, torch.inf).amin(-1, keepdim=True)
    return (values.amax(-1, keepdim=True) > least) | (finite.sum(-1, keepdim=True) == 1)


def only_the_best(values: Tensor) -> tuple[Tensor, Tensor]:
    """The best candidate alone, with weight 1."""
    _, index = values.max(-1, keepdim=True)
    return index, teaches(values).to(values.dtype)


def top(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of (*B, N), the largest first, and their indices: (*B, k) each."""
    return values.max(-1, keepdim=True) if k == 1 else values.topk(k, dim=-1)  # max is faster


def take(points: Tensor, index: Tensor) -> Tensor:
    """(*B, N, *E), indices (*B, k) -> (*B, k, *E)."""
    axis = index.ndim - 1
    return points.gather(axis, like(index, points).expand(*index.shape, *points.shape[axis + 1 :]))


def best(points: Tensor, values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best: points (*B, N, *E), values (*B, N) -> (*B, k, *E), (*B, k), best first."""
    values, index = top(values, k)
    return take(points, index), values


def like(x: Tensor, points: Tensor) -> Tensor:
    """(*B, N) -> (*B, N, 1, …), to broadcast against points."""
    return x.reshape((*x.shape, *[1] * (points.ndim - x.ndim)))
