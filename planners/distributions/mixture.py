"""A mixture of normals, for a search with several optima: each component can keep one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from elites.fields import Checked, Count
from elites.planners.distributions.distribution import Fill, Refit, State, filling, moved, relative
from elites.planners.distributions.normals import box_of
from elites.planners.draw import Draw
from elites.planners.weighting import like, take
from elites.spaces import Space

FEW = 1.5  # a component with fewer candidates is dropped


class Components(NamedTuple):
    mean: Tensor  # (*B, C, *E)
    std: Tensor  # (*B, C, *E)
    share: Tensor  # (*B, C): how often each is drawn
    apart: Tensor  # (*B): 1 if the components differ; before the first fit they are one normal


@dataclass(frozen=True)
class NormalMixture(Checked):
    """C normals over a box. A sample outside the box moves to its bound.

    A fit runs expectation-maximisation over the candidates. The first one begins with the best candidate and those that
    are farthest from each other. A component that explains fewer than two candidates is dropped.
    """

    components: Count = 4  # C
    steps: Count = 10  # of expectation-maximisation in a fit

    def begin(self, space: Space, batch: tuple[int, ...], spread: float) -> State:
        return self.around(space, space.centre.expand(*batch, *space.shape), spread)

    def around(self, space: Space, point: Tensor, spread: float) -> State:
        axis = point.ndim - len(space.shape)
        mean = point.unsqueeze(axis).expand(*point.shape[:axis], self.components, *space.shape)
        share = torch.zeros(mean.shape[: axis + 1], dtype=point.dtype, device=point.device)
        share[..., 0] = 1
        return Components(
            mean, (spread * box_of(self, space).half).expand_as(mean), share, torch.zeros_like(share[..., 0])
        )

    def renewed(self, state: State, space: Space, spread: float) -> State:
        """Around the heaviest component, as one normal."""
        return self.around(space, self._heaviest(state), spread)

    def shifted(self, state: State, space: Space, steps: int, fill: Fill) -> State:
        mean, std, share, apart = state
        time = mean.ndim - len(space.shape)
        return Components(moved(mean, time, steps, filling(space, fill)), moved(std, time, steps, None), share, apart)

    def sample(self, state: State, space: Space, count: int, draw: Draw) -> Tensor:
        mean, std, share, _ = state
        below = draw.uniform(count).unsqueeze(-1) >= share.cumsum(-1).unsqueeze(-2)
        which = below.sum(-1).clamp_max(self.components - 1)
        return space.project(torch.addcmul(take(mean, which), take(std, which), draw.normal(count, *space.shape)))

    def points(self, own: Tensor, space: Space) -> Tensor:
        return space.project(own)

    def own(self, points: Tensor, space: Space) -> Tensor:
        return points

    def fit(self, state: State, own: Tensor, weights: Tensor, space: Space, refit: Refit) -> State:
        mean, std, share, apart = state
        half = box_of(self, space).half
        scaled, total, counts = relative(weights)
        parts, first = scaled / total.unsqueeze(-1), like(apart == 0, share) & (refit.spread > 0)
        begun = self._begun(own, parts, half)
        now = [torch.where(like(first, old), new, old) for new, old in zip(begun, (mean, std, share), strict=True)]
        for _ in range(self.steps):
            now = self._improved(now, own, parts, half)
        found, deviation, part = now
        following = torch.lerp(mean, found, refit.centre)
        if refit.spread > 0:
            variance = torch.lerp(std.square(), deviation.square(), refit.spread)
            least = refit.floor * half
            changed = (following, torch.maximum(variance.sqrt(), least), torch.lerp(share, part, refit.spread))
            now = [*changed, torch.ones_like(apart)]
        else:
            now = [following, std, share, apart]
        return Components(*(torch.where(like(counts, x), x, old) for x, old in zip(now, state, strict=True)))

    def _begun(self, own: Tensor, weights: Tensor, half: Tensor) -> list[Tensor]:
        """The candidate of the largest weight and C - 1 others, each the farthest from those before."""
        axis = weights.ndim - 1
        unit = own / half.clamp_min(torch.finfo(own.dtype).tiny)
        chosen = [take(own, weights.argmax(-1, keepdim=True))]
        nearest = torch.full_like(weights, torch.inf)
        for _ in range(self.components - 1):
            last = chosen[-1] / half.clamp_min(torch.finfo(own.dtype).tiny)
            nearest = torch.minimum(nearest, (unit - last).square().flatten(axis + 1).sum(-1))
            chosen.append(take(own, torch.where(weights > 0, nearest, -1.0).argmax(-1, keepdim=True)))
        mean = torch.cat(chosen, axis)
        middle = (like(weights, own) * own).sum(axis, keepdim=True)
        spread = (like(weights, own) * (own - middle).square()).sum(axis, keepdim=True).sqrt()
        share = weights.new_full((*weights.shape[:-1], self.components), 1 / self.components)
        return [mean, spread.expand_as(mean), share]

    def _improved(self, now: list[Tensor], own: Tensor, weights: Tensor, half: Tensor) -> list[Tensor]:
        """One step of expectation-maximisation. The heaviest component is never dropped."""
        mean, std, share = now
        axis = weights.ndim - 1
        safe = std.clamp_min(torch.finfo(std.dtype).tiny).maximum(1e-4 * half).unsqueeze(axis)
        z = (own.unsqueeze(axis + 1) - mean.unsqueeze(axis)) / safe  # (*B, k, C, *E)
        density = (-0.5 * z.square() - safe.log()).flatten(axis + 2).sum(-1) + share.log().unsqueeze(axis)
        part = weights.unsqueeze(-1) * torch.softmax(density, -1)  # (*B, k, C)
        mass = part.sum(axis)
        many = mass / weights.amax(-1, keepdim=True).clamp_min(torch.finfo(mass.dtype).tiny)
        kept = (many >= FEW) | (mass == mass.amax(-1, keepdim=True))
        mass = mass * kept
        per = like(part / mass.clamp_min(torch.finfo(mass.dtype).tiny).unsqueeze(axis), z)
        found = (per * own.unsqueeze(axis + 1)).sum(axis)
        variance = (per * (own.unsqueeze(axis + 1) - found.unsqueeze(axis)).square()).sum(axis)
        keep = like(kept, found)
        share = mass / mass.sum(-1, keepdim=True).clamp_min(torch.finfo(mass.dtype).tiny)
        return [torch.where(keep, found, mean), torch.where(keep, variance.sqrt(), std), share]

    def centre(self, state: State, space: Space) -> Tensor:
        """The mean of the heaviest component."""
        return space.project(self._heaviest(state))

    def _heaviest(self, state: State) -> Tensor:
        mean, _, share, _ = state
        axis = share.ndim - 1
        return take(mean, share.argmax(-1, keepdim=True)).squeeze(axis)
