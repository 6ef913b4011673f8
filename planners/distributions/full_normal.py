"""A normal with a full covariance, for a search in which dimensions depend on each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from elites.fields import Checked
from elites.planners.distributions.distribution import Fill, Refit, State, filling, moved, relative
from elites.planners.distributions.normals import box_of
from elites.planners.draw import Draw
from elites.planners.weighting import like
from elites.spaces import Space

MOST = 512  # dimensions D; the covariance has D² entries


class Gaussian(NamedTuple):
    mean: Tensor  # (*B, *E)
    covariance: Tensor  # (*B, D, D) for the D entries of a point


@dataclass(frozen=True)
class FullNormal(Checked):
    """A joint normal over all entries of a point. A sample outside the box moves to its bound.

    The covariance of a few elites is singular. So the fit shrinks it towards its diagonal by λ = D / (D + n).
    n = 1 / Σ w² is the effective number of candidates. If n is much larger than D, λ is near 0.
    """

    def begin(self, space: Space, batch: tuple[int, ...], spread: float) -> State:
        return self.around(space, space.centre.expand(*batch, *space.shape), spread)

    def around(self, space: Space, point: Tensor, spread: float) -> State:
        half = self._half(space)
        return Gaussian(point, torch.diag_embed((spread * half).square().expand(*self._lead(point, space), -1)))

    def renewed(self, state: State, space: Space, spread: float) -> State:
        return self.around(space, state[0], spread)

    def shifted(self, state: State, space: Space, steps: int, fill: Fill) -> State:
        """The covariance moves with the mean. New steps at the end have the last step's variance, and no covariance."""
        mean, covariance = state
        horizon = space.shape[0]
        entries = torch.arange(space.shape.numel(), device=mean.device).reshape(space.shape)
        origin = moved(entries, 0, steps, None).flatten()
        kept = (torch.arange(horizon, device=mean.device) < horizon - steps).repeat_interleave(len(origin) // horizon)
        known = (kept.unsqueeze(0) & kept.unsqueeze(1)) | torch.eye(len(origin), dtype=torch.bool, device=mean.device)
        covariance = torch.where(known, covariance[..., origin, :][..., origin], 0)
        return Gaussian(moved(mean, mean.ndim - len(space.shape), steps, filling(space, fill)), covariance)

    def sample(self, state: State, space: Space, count: int, draw: Draw) -> Tensor:
        """mean + L ε with L Lᵀ = Σ + 1e-6 diag(Σ). Without the second term, rounding can make Σ indefinite."""
        mean, covariance = state
        jitter = 1e-6 * torch.diagonal(covariance, dim1=-2, dim2=-1) + torch.finfo(mean.dtype).tiny
        root, _ = torch.linalg.cholesky_ex(covariance + torch.diag_embed(jitter))
        noise = draw.normal(count, space.shape.numel()) @ root.mT
        return space.project(mean.unsqueeze(len(draw.batch)) + noise.reshape(*noise.shape[:-1], *space.shape))

    def points(self, own: Tensor, space: Space) -> Tensor:
        return space.project(own)

    def own(self, points: Tensor, space: Space) -> Tensor:
        return points

    def fit(self, state: State, own: Tensor, weights: Tensor, space: Space, refit: Refit) -> State:
        """Eq. 2 of the CEM-GD paper, with Σ instead of σ²."""
        mean, covariance = state
        axis = weights.ndim - 1
        scaled, total, counts = relative(weights)
        found = (like(scaled, own) * own).sum(axis) / like(total, mean)
        next_mean = torch.lerp(mean, found, refit.centre)
        next_mean = torch.where(like(counts, mean), next_mean, mean)
        if refit.spread == 0:
            return Gaussian(next_mean, covariance)
        apart = (own - found.unsqueeze(axis)).flatten(axis + 1)  # (*B, k, D)
        weight = (scaled / total.unsqueeze(-1)).unsqueeze(-1)
        raw = (weight * apart).mT @ apart
        size = raw.shape[-1]
        many = 1 / weight.square().sum((-2, -1)).clamp_min(torch.finfo(weight.dtype).tiny)
        shrink = (size / (size + many))[..., None, None]
        diagonal = torch.diag_embed(torch.diagonal(raw, dim1=-2, dim2=-1))
        next_covariance = torch.lerp(covariance, torch.lerp(raw, diagonal, shrink), refit.spread)
        variance = torch.diagonal(next_covariance, dim1=-2, dim2=-1)
        missing = ((refit.floor * self._half(space)).square() - variance).clamp_min(0)
        next_covariance = next_covariance + torch.diag_embed(missing)
        return Gaussian(next_mean, torch.where(like(counts, covariance), next_covariance, covariance))

    def centre(self, state: State, space: Space) -> Tensor:
        return space.project(state[0])

    def _half(self, space: Space) -> Tensor:
        """(D): the unit of the spread."""
        size = space.shape.numel()
        if size > MOST:
            raise ValueError(f"FullNormal: expected at most {MOST} dimensions, got {size}; use another distribution")
        return box_of(self, space).half.flatten()

    def _lead(self, point: Tensor, space: Space) -> torch.Size:
        return point.shape[: point.ndim - len(space.shape)]
