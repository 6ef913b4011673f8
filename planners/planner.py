"""What planners are written as: `solve`, or a `search` whose loop is shared."""

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
    """A planner written as `solve(evaluator)`; `plan` does the checking. Its fields are checked when it is made."""

    @abstractmethod
    def solve(self, evaluator: Evaluator) -> Plan: ...

    def require(self, space: Space) -> None:
        """A ValueError where it cannot search this space."""

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
        """A search to be driven from outside by ask and tell."""
        return self.search(Problem(space, start, batch, rng))

    def search(self, problem: Problem) -> Search:
        name = type(self).__name__
        raise ValueError(f"{name}.begin: expected a planner that only samples; {name} needs gradients: call plan")


class SamplingPlanner(Solver):
    """A planner written as `search(problem)`: distribution × weighting × refit under one loop."""

    @abstractmethod
    def search(self, problem: Problem) -> Search: ...

    def solve(self, evaluator: Evaluator) -> Plan:
        return driven(self.search(evaluator.problem), evaluator)


def driven(search: Search, evaluator: Evaluator) -> Plan:
    """The plan of a search whose candidates an evaluator scores, until its time is up."""
    while not search.done:
        search.tell(evaluator.compare(search.ask()))
        if evaluator.expired():
            search.stop()
    return search.plan


def first_state(
    distribution: Distribution, problem: Problem, spread: float, warm: Literal["best", "mean"] = "best"
) -> State:
    """Where a search begins: at the space's centre, around the last plan's best, or on its mean with a new spread.

    The mean is that of the same distribution; a plan by another one, or a guess, is taken up through its best.
    """
    space, start = problem.space, problem.start
    if start is None:
        return distribution.begin(space, problem.batch, spread)
    if warm == "mean" and start.state is not None and start.by == distribution:
        return distribution.renewed(start.state, space, spread)
    return distribution.around(space, start.best, spread)
