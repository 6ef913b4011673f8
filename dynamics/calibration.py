"""Calibrates a model's variance after training, on held-out transitions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

GRID = torch.linspace(math.log(1e-3), math.log(1e3), 181, dtype=torch.float64)  # values of log c; c grows by 8 % a step
PRIOR = 1.0  # prior spread of log c: a few held-out transitions move c little


def variance_factors(squared_error: Tensor, variance: Tensor, disagreement: Tensor) -> Tensor:
    """The factor c of every entry under which the mixture's errors e are most likely: (n, S) each -> (S,).

    The mixture's variance is c v + d: v is the mean of the members' variances, d the variance of their means. Members
    learn v from their own errors, which are larger than the mixture's. So v + d is too large. c minimises the sum over
    transitions Σ log(c v + d) + e² / (c v + d), plus (log c / PRIOR)².
    """
    best = torch.zeros_like(variance[0], dtype=torch.float64)
    least = torch.full_like(best, math.inf)
    for log_c in GRID.to(variance.device):
        total = log_c.exp() * variance + disagreement
        cost = (total.log() + squared_error / total).sum(0) + (log_c / PRIOR) ** 2
        better = cost < least
        best, least = torch.where(better, log_c, best), torch.where(better, cost, least)
    return best.exp().to(variance)
