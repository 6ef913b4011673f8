"""The loop that every sampling planner shares: draw, score, keep the elites, re-weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from elites.planners.plan import Plan
from elites.planners.problem import Problem
from elites.planners.proposals import Proposal
from elites.planners.weights import Weights, best, like

# (*B, N, *E) -> points at least as good, (*B, N, *E), and their values, (*B, N)
Refine = Callable[[Tensor], tuple[Tensor, Tensor]]


def search(
    problem: Problem,
    *,
    proposal: Proposal,
    weights: Weights,
    samples: Sequence[int],
    spread: float,
    keep: int = 1,
    carry: int = 0,
    carry_mean: bool = False,
    warm: Literal["best", "mean"] = "best",
    answer: Literal["best", "mean"] = "best",
    refine: Refine | None = None,
) -> Plan:
    """Maximises the problem's objective by sampling.

    samples: drawn in each iteration. spread: the first one, in half widths of the box. keep: elites in the plan.
    carry: how many elites are candidates again, in the next iteration and in the next plan. carry_mean: so is the mean,
    in the last iteration. warm: where a warm start is centred. answer: the best point seen, or the mean, where it is no
    worse than the start. refine: scores the candidates, and may improve them. The start's best is always a candidate.
    """
    box, start, axis = problem.box, problem.start, len(problem.batch)
    fallback = problem.fallback
    mean = start.mean if start and warm == "mean" else proposal.encode(fallback, box)
    std = (spread * box.half).expand_as(mean)
    elites = fallback.unsqueeze(axis).expand(*problem.batch, keep, *box.shape)
    values = elites.new_full(elites.shape[: axis + 1], -torch.inf)
    start_value = elites.new_full(problem.batch, -torch.inf)
    again = [start.best.unsqueeze(axis), start.elites.narrow(axis, 1, _others(start, axis, carry))] if start else []

    for iteration, count in enumerate(samples):
        if carry_mean and iteration == len(samples) - 1:
            again.append(proposal.decode(mean, box).unsqueeze(axis))
        own = proposal.sample(problem, mean, std, count)
        points = proposal.decode(own, box)
        if again:
            own = torch.cat([own, *(proposal.encode(x, box) for x in again)], axis)
            points = torch.cat([points, *again], axis)
        if refine:
            points, scores = refine(points)
            own = proposal.encode(points, box)
        else:
            scores = problem.compare(points)
        if start and iteration == 0:
            start_value = scores.select(-1, count)

        mean, std = weights.update(own, scores, mean, std)
        top, top_scores = best(points, scores, min(keep, scores.shape[-1]))
        if carry == 0 and (iteration or top_scores.shape[-1] < keep):  # else no former elite is missing here
            top, top_scores = best(torch.cat([elites, top], axis), torch.cat([values, top_scores], -1), keep)
        elites, values = torch.where(like(top_scores > -torch.inf, top), top, fallback.unsqueeze(axis)), top_scores
        again = [elites.narrow(axis, 0, carry)] if carry else []
        if problem.expired():
            break

    found, value = elites.select(axis, 0), values.select(-1, 0)
    if answer == "mean":
        centre = proposal.decode(mean, box)
        centre_value = problem.compare(centre.unsqueeze(axis)).squeeze(-1)
        take = centre_value.isfinite() & (centre_value >= start_value)
        found, value = torch.where(like(take, found), centre, found), torch.where(take, centre_value, value)
    return Plan(found, value, elites, mean, std, value.isfinite(), problem.evaluations)


def _others(start: Plan, axis: int, carry: int) -> int:
    """How many of the start's elites are carried beside its best."""
    return max(min(carry, start.elites.shape[axis]) - 1, 0)
