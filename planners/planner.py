"""The base classes of planners: one writes `solve`, or a `search` that the shared loop runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Generator

from elites.fields import Checked, renaming
from elites.planners.distributions import Distribution, State
from elites.planners.evaluator import Evaluator
from elites.planners.plan import Objective, Plan
from elites.planners.problem import Problem
from elites.planners.search import Search
from elites.spaces import Space


class Solver(Checked, ABC):
    """A planner written as `solve(evaluator)`. `plan` checks its arguments; the constructor checks the fields."""

    @abstractmethod
    def solve(self, evaluator: Evaluator) -> Plan: ...

    def require(self, space: Space) -> None:
        """Raises a ValueError if the planner cannot search this space."""

    @renaming(box="space")
    def plan(
        self,
        objective: Objective,
        space: Space,
        start: Plan | None = None,
        *,
        batch: tuple[int, ...] = (),
        rng: Generator | None = None,
        deadline: float | None = None,
    ) -> Plan:
        """Maximises the objective over the space; see `Planner.plan`."""
        problem = Problem(space, start, batch, rng)
        self.require(problem.space)
        return self.solve(Evaluator(objective, problem, deadline))

    def begin(
        self,
        space: Space,
        start: Plan | None = None,
        *,
        batch: tuple[int, ...] = (),
        rng: Generator | None = None,
    ) -> Search:
        """A search that the caller drives by ask and tell."""
        return self.search(Problem(space, start, batch, rng))

    def search(self, problem: Problem) -> Search:
        name = type(self).__name__
        raise ValueError(f"{name}.begin: expected a planner that only samples; {name} needs gradients: call plan")


class SamplingPlanner(Solver):
    """A planner written as `search(problem)`: a distribution, a weighting and a refit in the shared loop."""

    @abstractmethod
    def search(self, problem: Problem) -> Search: ...

    def solve(self, evaluator: Evaluator) -> Plan:
        return driven(self.search(evaluator.problem), evaluator)


def driven(search: Search, evaluator: Evaluator) -> Plan:
    """Runs a search to its end, or to the evaluator's deadline. The evaluator scores the candidates."""
    while not search.done:
        search.tell(evaluator.compare(search.ask()))
        if evaluator.expired():
            search.stop()
    return search.plan


def first_state(
    distribution: Distribution, problem: Problem, spread: float, warm: Literal["best", "mean"] = "best"
) -> State:
    """The first state of a search: at the space's centre, around the last plan's best, or on its mean, spread again.

    The mean needs a plan by the same distribution. A plan by another one, or a guess, gives its best point instead.
    """
    space, start = problem.space, problem.start
    if start is None:
        return distribution.begin(space, problem.batch, spread)
    if warm == "mean" and start.state is not None and start.by == distribution:
        return distribution.renewed(start.state, space, spread)
    return distribution.around(space, start.best, spread)
