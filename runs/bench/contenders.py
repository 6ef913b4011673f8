"""The planners of benchmarks/search.py and benchmarks/closed_loop.py, with the settings that spend a budget."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from elites.planners import (
    CEM,
    CEMGD,
    CMAES,
    ICEM,
    LBFGS,
    MPPI,
    Blend,
    GradCEM,
    GradientAscent,
    Objective,
    Plan,
    Planner,
    PredictiveSampling,
    RandomShooting,
)
from elites.runs.bench.problems import STAGES, Instances
from elites.spaces import Box, Space

Solve = Callable[[Instances, int], Iterator[tuple[Tensor, int]]]  # with a seed: points (B, *E) and evaluations by stage


def cem(budget: int, iterations: int = 5) -> CEM:
    samples = max(budget // iterations, 2)
    return CEM(samples=samples, iterations=iterations, elites=max(samples // 10, 2))


def ours(budget: int) -> dict[str, Planner]:
    """The planners with the settings that spend this budget. CMA-ES is there if `cma` is installed."""
    few = budget < 500
    steps, trials = (2 if few else 10), 4
    ascent = GradientAscent(steps=steps, trials=trials, starts=1)
    rest = cem(budget - 1 - steps * trials)
    quasi = LBFGS(steps=budget // 4 if few else 40)
    inner = CEM(samples=4, iterations=4, elites=2) if few else CEM(samples=budget // 30, iterations=5, elites=2)
    short = cem(budget - 1 - quasi.steps)
    fifth, some = max(budget // 5, 2), min(max(budget // 10, 10), 100)
    known: dict[str, Planner] = {
        "random_shooting": RandomShooting(samples=budget),
        "predictive_sampling": PredictiveSampling(samples=fifth, iterations=5),
        "cem": cem(budget),
        "cem, 10 iterations": cem(budget, 10),
        "icem": ICEM(samples=max(int(budget / 3.36), 4), elites=max(budget // 50, 2)),
        "mppi": MPPI(samples=fifth),
        "gradient_ascent": GradientAscent(steps=min(10, budget // 5), trials=4, starts=max(budget // 50, 1)),
        "lbfgs": LBFGS(steps=budget - 1, starts=1) if few else LBFGS(steps=40, starts=budget // 41),
        "grad_cem": GradCEM(inner, GradientAscent(steps=1, trials=2 if few else 5)),
        "cem_gd": CEMGD(cold=rest, warm=rest, ascent=ascent),
        "cem_gd, lbfgs": CEMGD(cold=short, warm=short, ascent=quasi),
        "blend": Blend(samples=budget, warm=None),
    }
    if importlib.util.find_spec("cma") is None:
        return known
    known["CMA-ES"] = CMAES(samples=min(some, 20), iterations=budget // min(some, 20))
    if some > 20:
        known["CMA-ES, large population"] = CMAES(samples=some, iterations=budget // some)
    return known


def planned(planner: Planner) -> Solve:
    def solve(of: Instances, seed: int) -> Iterator[tuple[Tensor, int]]:
        rng, plan = Generator().manual_seed(seed), None
        for objective in of.at(slice(None)):
            start = of.next(plan) if plan else None
            plan = planner.plan(objective, of.space, start, batch=(of.count,), rng=rng)
            yield plan.best, plan.evaluations

    return solve


def _alone(objective: Objective, points: Tensor) -> Tensor:
    """(N, *E) -> (N), of an objective with a batch of one problem."""
    return objective(points.unsqueeze(0))[0]


# --- others -----------------------------------------------------------------------------------------------------------


def one_by_one(make: Callable[[Any], Callable[[Objective, Tensor | None], tuple[Tensor, int]]]) -> Solve:
    """Planners for one problem. make: the space -> (objective, start) -> point, evaluations."""

    def solve(of: Instances, seed: int) -> Iterator[tuple[Tensor, int]]:
        chains = []
        for row in range(of.count):
            torch.manual_seed(1000 * seed + row)
            search, start, chain = make(of.space), None, []
            for objective in of.at(slice(row, row + 1)):
                point, evaluations = search(partial(_alone, objective), start)
                start = of.next(Plan.at(point[None], (1,))).best[0]
                chain.append((point, evaluations))
            chains.append(chain)
        for stage in range(STAGES):
            yield torch.stack([chain[stage][0] for chain in chains]), chains[0][stage][1]

    return solve


def mbrl(budget: int) -> dict[str, Solve]:
    """mbrl-lib's optimizers, with the settings of its own examples where the budget leaves a choice."""
    from mbrl.planning.trajectory_opt import CEMOptimizer, ICEMOptimizer, MPPIOptimizer

    def with_bounds(kind: Any, **options: Any) -> Solve:
        def make(space: Box) -> Any:
            shape = space.shape if len(space.shape) > 1 else (1, *space.shape)  # a point of theirs has a time axis
            low, high = space.low.reshape(shape).tolist(), space.high.reshape(shape).tolist()
            optimizer = kind(lower_bound=low, upper_bound=high, device=torch.device("cpu"), **options)

            def search(objective: Objective, start: Tensor | None) -> tuple[Tensor, int]:
                counted: list[int] = []

                def value(x: Tensor) -> Tensor:
                    counted.append(len(x))
                    return objective(space.project(x.reshape(-1, *space.shape)))

                first = space.centre if start is None else start
                best = optimizer.optimize(value, x0=first.reshape(shape).clone())
                return space.project(best.float().reshape(space.shape)), sum(counted)

            return search

        return one_by_one(make)

    fifth = max(budget // 5, 2)
    common = {"num_iterations": 5, "population_size": fifth}
    return {
        "mbrl-lib, CEM": with_bounds(CEMOptimizer, **common, elite_ratio=max(0.1, 2 / fifth), alpha=0.1),
        "mbrl-lib, iCEM": with_bounds(
            ICEMOptimizer,
            num_iterations=5,
            population_size=max(int(budget / 3.36), 5),
            elite_ratio=max(0.1, 2 / max(int(budget / 3.36), 5)),
            population_decay_factor=1.25,
            colored_noise_exponent=2.0,
            keep_elite_frac=0.3,
            alpha=0.1,
        ),
        "mbrl-lib, MPPI": with_bounds(MPPIOptimizer, **common, gamma=0.9, sigma=1.0, beta=0.9),
    }


def evotorch(budget: int) -> dict[str, Solve]:
    """EvoTorch's distributions, in half widths of the box."""
    from evotorch import Problem
    from evotorch.algorithms import CEM, SNES, XNES

    logging.disable(logging.INFO)  # of every Problem

    def with_size(kind: Any, **options: Any) -> Solve:
        def make(space: Box) -> Any:
            def search(objective: Objective, start: Tensor | None) -> tuple[Tensor, int]:
                def value(x: Tensor) -> Tensor:
                    return objective(space.project(space.centre + space.half * x.reshape(-1, *space.shape)))

                first = torch.zeros(space.shape) if start is None else (start - space.centre) / space.half
                size = space.centre.numel()
                seed = int(torch.randint(2**31, ()))
                problem = Problem(
                    "max", value, solution_length=size, initial_bounds=(-1, 1), vectorized=True, seed=seed
                )
                searcher = kind(problem, center_init=first.flatten(), stdev_init=0.5, **options)
                searcher.run(max(budget // options["popsize"], 1))
                best = searcher.status["best"].values.clone().reshape(space.shape)
                point = space.project(space.centre + space.half * torch.as_tensor(best))
                if start is not None and objective(start[None]) > objective(point[None]):
                    point = start
                return point, budget // options["popsize"] * options["popsize"]

            return search

        return one_by_one(make)

    several = min(max(budget // 10, 10), 100)
    return {
        "EvoTorch, CEM": with_size(CEM, popsize=several, parenthood_ratio=0.2),
        "EvoTorch, SNES": with_size(SNES, popsize=several),
        "EvoTorch, XNES": with_size(XNES, popsize=several),
    }


# --- all of them ------------------------------------------------------------------------------------------------------


def contenders(by: str, budget: int) -> dict[str, tuple[Any, Solve]]:
    if by == "ours":
        return {name: (planner, planned(planner)) for name, planner in ours(budget).items()}
    others = mbrl(budget) if by == "mbrl" else evotorch(budget)
    return {name: (None, solve) for name, solve in others.items()}


def fits(name: str, planner: Any, space: Space, gradient: bool) -> bool:
    """Whether this contender can search the space. Those of others search boxes; mbrl-lib's iCEM needs time steps."""
    if name == "mbrl-lib, iCEM" and len(space.shape) < 2:
        return False
    if not isinstance(space, Box) and (planner is None or isinstance(planner, CMAES)):
        return False
    return gradient or not isinstance(planner, GradientAscent | LBFGS | GradCEM | CEMGD)
