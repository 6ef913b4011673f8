"""iCEM: the cross-entropy method with coloured noise and memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from elites.fields import Count, Fraction, NonNegative, Positive, Range, Rate
from elites.planners.cem import TopK
from elites.planners.distributions import ClippedNormal, Coloured, Refit, suited
from elites.planners.planner import SamplingPlanner, first_state
from elites.planners.problem import Problem
from elites.planners.search import Candidates, Search


@dataclass(frozen=True)
class CarriedElites:
    """Adds some elites as candidates in the next iteration and the next plan. The last iteration also gets the mean."""

    count: int

    @property
    def remembers(self) -> bool:
        return self.count > 0

    def candidates(self, search: Search) -> list[Candidates]:
        space, axis, start = search.problem.space, search.axis, search.problem.start
        found: list[Candidates] = []
        if search.round == 0 and start:  # the search itself adds the start's best
            others = start.elites.narrow(axis, 1, max(min(self.count, start.elites.shape[axis]) - 1, 0))
            found.append((search.distribution.own(others, space), others))
        if search.round > 0 and self.count:
            found.append((search.own_elites.narrow(axis, 0, self.count), search.elites.narrow(axis, 0, self.count)))
        if search.last_round:
            mean = search.distribution.centre(search.state, space).unsqueeze(axis)
            found.append((search.distribution.own(mean, space), mean))
        return found


@dataclass(frozen=True)
class ICEM(SamplingPlanner):
    """Pinneri et al. 2020, Algorithm 1: actions correlated in time, elites carried over, a shrinking population.

    The refit is CEM's: μ ← (1 - α) μ + α Σ x_i / K, and the same for the variance.
    """

    samples: Count = 100  # N, candidates of the first iteration
    iterations: Count = 5  # rounds of drawing, scoring and refitting
    elites: Count = 10  # K, candidates to refit to
    alpha: Rate = 0.9  # weight of the new elites, 1 less the paper's momentum
    beta: NonNegative = 2.0  # the noise's colour: the exponent of its power spectrum
    decay: Annotated[float, Range(1)] = 1.25  # γ: iteration i draws max(N γ^-i, 2K)
    carry: Fraction = 0.3  # ξ: the share of the elites that become candidates again, best first
    spread: Positive = 0.5  # the first standard deviation, in half widths of the box
    floor: NonNegative = 0.0  # the smallest spread, in half widths

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.elites > self.samples:
            raise ValueError(
                f"ICEM.elites: expected at most samples, got {self.elites} elites of {self.samples} samples"
            )

    def search(self, problem: Problem) -> Search:
        distribution = suited(ClippedNormal(Coloured(self.beta)), problem.space)
        later = [max(int(self.samples / self.decay**i), 2 * self.elites) for i in range(1, self.iterations)]
        return Search(
            problem,
            distribution,
            first_state(distribution, problem, self.spread, warm="mean"),
            weighting=TopK(self.elites),
            refit=Refit(self.alpha, self.alpha, self.floor),
            samples=[self.samples, *later],
            keep=self.elites,
            beside=CarriedElites(round(self.carry * self.elites)),
        )
