"""The cross-entropy method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elites.fields import Count, NonNegative, Positive, Rate
from elites.planners.plan import Plan
from elites.planners.problem import Problem, Solver
from elites.planners.proposals import Proposal, TruncatedNormal
from elites.planners.search import Refine, search
from elites.planners.weights import TopK


@dataclass(frozen=True)
class CEM(Solver):
    """Refits a normal to the elites, eq. 2 of the CEM-GD paper: mean ← (1 - α) mean + α mean(elites), so the variance.

    The defaults are the paper's CEM 500. CGP's Algorithm 1, over a Q-function, is
    `CEM(samples=64, iterations=2, elites=6, alpha=1.0, spread=1.0, proposal=TanhNormal())`.
    """

    samples: Count = 100  # n, per iteration
    iterations: Count = 5  # m
    elites: Count = 10  # k
    alpha: Rate = 0.9
    spread: Positive = 0.5  # the first one, in half widths of the box: PETS's (high - low) / 4
    floor: NonNegative = 0.0  # the least spread, in half widths
    proposal: Proposal = TruncatedNormal()
    warm: Literal["best", "mean"] = "best"  # what a warm start is centred on
    answer: Literal["best", "mean"] = "best"  # the mean where the objective is noisy: the best seen overfits the noise

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.elites > self.samples:
            raise ValueError(
                f"CEM.elites: expected at most samples, got {self.elites} elites of {self.samples} samples"
            )

    def solve(self, problem: Problem, keep: int = 1, refine: Refine | None = None) -> Plan:
        """keep: the elites that the plan holds at least. refine: see `search`."""
        return search(
            problem,
            proposal=self.proposal,
            weights=TopK(self.elites, self.alpha, self.floor * problem.box.half),
            samples=[self.samples] * self.iterations,
            spread=self.spread,
            keep=max(self.elites, keep),
            warm=self.warm,
            answer=self.answer,
            refine=refine,
        )
