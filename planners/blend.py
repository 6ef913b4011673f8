"""Several proposals share every round. Gradient steps follow if the objective has a gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from elites.fields import Count, Fraction, Positive
from elites.planners.ascent import climbed
from elites.planners.cem import TopK
from elites.planners.distributions import ClippedNormal, Refit, Smoothed, suited
from elites.planners.evaluator import NO_GRADIENT, Evaluator
from elites.planners.lbfgs import LBFGS
from elites.planners.mppi import Softmax
from elites.planners.plan import Plan
from elites.planners.planner import SamplingPlanner, driven, first_state
from elites.planners.problem import Problem
from elites.planners.proposals import Around, Curves, Fitted, Mutations, Proposal
from elites.planners.search import Candidates, Saved, Search
from elites.planners.weighting import best
from elites.spaces import Box

ELITES = 10  # in a plan
LEAST = 4  # evaluations besides gradient steps: of a test for a gradient, the last plan and new candidates
MOST = 6  # elites that climb all the way, at most
FEWEST = 35  # candidates of a proposal in a plan; a small plan has fewer proposals


@dataclass(frozen=True)
class Blend(SamplingPlanner):
    """Proposes in three ways at once, and then climbs from the best candidates.

    The proposals are smooth curves around the best point, CEM's refit to all candidates, and MPPI's average under
    smooth noise. They have equal shares, and a small plan has fewer proposals. L-BFGS climbs if the objective has a
    gradient. Over choices, the average and the refit count frequencies, and the changes of the best point are
    mutations. A gradient step counts as one evaluation.
    """

    samples: Count = 500  # evaluations of a cold plan, gradient steps included
    warm: Count | None = 100  # of a warm plan; None is as many
    spread: Positive = 0.5  # the first standard deviation, in half widths of the box
    share: Fraction = 0.7  # of the evaluations, at most, for gradient steps
    ascent: LBFGS = LBFGS(steps=40)

    def solve(self, evaluator: Evaluator) -> Plan:
        problem, budget = evaluator.problem, self._budget(evaluator.problem)
        spent = min(int(self.share * budget), budget - LEAST)  # on gradient steps
        steps = min(self.ascent.steps, spent - 1)  # the first point costs one
        could_climb = steps > 0 and isinstance(problem.space, Box)
        known = problem.start is not None and problem.start.gradient
        climbs = could_climb and (known or evaluator.has_gradient())
        starts = min(spent // (steps + 1), MOST) if climbs else 0
        # the try keeps its evaluation even if nobody tries, so the plan is the same
        search = self.search(problem, budget - could_climb - starts * (steps + 1))
        found = driven(search, evaluator)
        if climbs and not evaluator.expired():
            try:
                found = self._climbed(evaluator, found, steps, starts)
            except NO_GRADIENT as error:
                if not known or isinstance(error, torch.OutOfMemoryError) or evaluator.has_gradient():
                    raise
                climbs = False  # it is another objective than the last plan's
        return replace(found, evaluations=evaluator.evaluations, gradient=climbs)

    def search(self, problem: Problem, budget: int | None = None) -> BlendSearch:
        """The proposals without gradient steps."""
        return BlendSearch(problem, self._budget(problem) if budget is None else budget, self.spread)

    def _budget(self, problem: Problem) -> int:
        return self.samples if problem.start is None or self.warm is None else self.warm

    def _climbed(self, evaluator: Evaluator, found: Plan, steps: int, starts: int) -> Plan:
        """Twice as many elites climb for a third of the steps, and the best of them go on. A small budget has one."""
        axis, end = len(evaluator.problem.batch), evaluator.evaluations + starts * (steps + 1)
        if starts == 1:
            points, values = self._in_turn(evaluator, found.elites, 1, end)
            return climbed(found, *best(points, values, values.shape[-1]))
        first = max(steps // 3, 1)
        many = min(2 * starts, found.elites.shape[axis], starts * (steps + 1) // (first + 1))
        points, values = self._higher(evaluator, found.elites.narrow(axis, 0, many), first)
        few = min(max((end - evaluator.evaluations) // (steps + 1), 1), many)
        top, top_values = self._in_turn(evaluator, points, few, end)
        done = top_values.shape[-1]
        points = torch.cat([top, points.narrow(axis, done, many - done)], axis)
        values = torch.cat([top_values, values.narrow(-1, done, many - done)], -1)
        return climbed(found, *best(points, values, many))

    def _in_turn(self, evaluator: Evaluator, points: Tensor, few: int, end: int) -> tuple[Tensor, Tensor]:
        """The first few points climb together. The next one climbs with the evaluations that they leave, and so on."""
        axis, at = len(evaluator.problem.batch), 0
        higher = [(points.narrow(axis, 0, 0), points.new_empty(*evaluator.problem.batch, 0))]
        while at + few <= points.shape[axis] and (at == 0 or not evaluator.expired()):
            left = (end - evaluator.evaluations) // few
            if left < 2:
                break
            higher.append(self._higher(evaluator, points.narrow(axis, at, few), left - 1))
            at, few = at + few, 1
        those, values = zip(*higher, strict=True)
        return torch.cat(those, axis), torch.cat(values, -1)

    def _higher(self, evaluator: Evaluator, points: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """The points after these steps and their values, best first."""
        points, values = replace(self.ascent, steps=steps).climb(evaluator, points)
        return best(points, values, values.shape[-1])


class BlendSearch(Search):
    """The running search."""

    def __init__(self, problem: Problem, budget: int, spread: float) -> None:
        budget = max(budget - (problem.start is not None), 1)
        rounds = min(max(round(math.sqrt(budget) / 2), min(3, budget)), 40)
        samples = [budget // rounds + (i < budget % rounds) for i in range(rounds)]
        distribution = suited(ClippedNormal(), problem.space)
        state = first_state(distribution, problem, spread)
        elites = min(ELITES, samples[0])
        super().__init__(problem, distribution, state, weighting=TopK(1), refit=Refit(), samples=samples, keep=elites)
        self.refitted = Fitted(distribution, state, _elites, Refit(0.9, 0.9))
        fewest = FEWEST if isinstance(problem.space, Box) else FEWEST // 3  # a mutation stays near the first point
        make = (self._around, lambda _: self.refitted, self._averaged)
        self.proposals = [proposal(spread) for proposal in make[: max(budget // fewest, 1)]]

    def _around(self, spread: float) -> Proposal:
        if not isinstance(self.problem.space, Box):
            return Mutations()
        return Around(Curves(), torch.full_like(self.value, spread), grow=1.2, shrink=0.9, least=0.02, most=0.6)

    def _averaged(self, spread: float) -> Proposal:
        smooth = suited(ClippedNormal(Smoothed()), self.problem.space)
        state = first_state(smooth, self.problem, spread)
        return Fitted(smooth, state, lambda count: Softmax(0.1, True), Refit(spread=0))

    def _drawn(self) -> Candidates:
        """Candidates of each proposal in turn."""
        several = [
            proposal.draw(self.found, count, self.problem.draw)
            for proposal, count in zip(self.proposals, self._counts(), strict=True)
        ]
        if self.problem.start and self.round == 0:
            several.append(self.problem.start.best.unsqueeze(self.axis))
        points = torch.cat(several, self.axis)
        return points, points

    def _counts(self) -> list[int]:
        """The candidates of each proposal in this round."""
        count, several = self.samples[self.round], len(self.proposals)
        return [count // several + (i < count % several) for i in range(several)]

    def _learn(self, own: Tensor, points: Tensor, values: Tensor) -> None:
        record = self.value
        if self.problem.start and self.round == 0:
            self.start_value = record = values.select(-1, self.samples[0])
        first = 0
        for proposal, count in zip(self.proposals, self._counts(), strict=True):
            candidates, scores = points.narrow(self.axis, first, count), values.narrow(-1, first, count)
            better = scores.amax(-1) > record
            if proposal is self.refitted:
                candidates, scores = points, values  # of every proposal
            proposal.learn(candidates, scores, better, self.problem.space)
            first += count
        self.state = self.refitted.tensors
        self._remember(own, points, values)
        self.found, self.value = self.elites.select(self.axis, 0), self.values.select(-1, 0)
        self.round += 1

    def state_dict(self) -> Saved:
        tensors = [x for proposal in self.proposals for x in proposal.tensors]
        return super().state_dict() | {"proposals": tensors}

    def load_state_dict(self, saved: Mapping[str, object]) -> None:
        super().load_state_dict(saved)
        tensors = saved["proposals"]
        assert isinstance(tensors, list)
        for proposal in self.proposals:
            size = len(proposal.tensors)
            proposal.load(tensors[:size])
            tensors = tensors[size:]


def _elites(count: int) -> TopK:
    """10 % of many candidates, 20 % of few."""
    return TopK(max(count // 10, 2) if count >= 40 else min(count, count // 5 + 1))
