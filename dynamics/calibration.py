"""A variance that says how far a model is off: set once after training, on transitions that it has not learned from."""

from __future__ import annotations

import math

import torch
from torch import Tensor

GRID = torch.linspace(math.log(1e-3), math.log(1e3), 181, dtype=torch.float64)  # of log c, 8 % apart
PRIOR = 1.0  # spread of log c before any transition is seen, so a few held-out transitions move it little


def variance_factors(squared_error: Tensor, variance: Tensor, disagreement: Tensor) -> Tensor:
    """The c of every entry under which the mixture's errors are likeliest: (n, S) each -> (S,).

    A mixture's variance is the mean of its members' and, on top, how their means differ: c v + d. Members learn v of
    their own errors, which are larger than the mixture's, so v + d is too large. c minimises, over transitions,
    Σ log(c v + d) + e² / (c v + d), and beside it (log c / PRIOR)².
    """
    best = torch.zeros_like(variance[0], dtype=torch.float64)
    least = torch.full_like(best, math.inf)
    for log_c in GRID.to(variance.device):
        total = log_c.exp() * variance + disagreement
        cost = (total.log() + squared_error / total).sum(0) + (log_c / PRIOR) ** 2
        better = cost < least
        best, least = torch.where(better, log_c, best), torch.where(better, cost, least)
    return best.exp().to(variance)
