"""How good one plan is at equal evaluations: every planner here, and others', on bowls, Q-functions, tasks and models.

    python benchmarks/search.py                                     # this package's planners, and CMA-ES
    .venv-mbrl/bin/python benchmarks/search.py --by mbrl            # mbrl-lib's
    PYTHONPATH=. .venv-evotorch/bin/python benchmarks/search.py --by evotorch
    python benchmarks/search.py --table --out docs/pictures

Each run adds rows to results/search.csv and skips those that are there. A row has the values of all instances after a
cold plan, or after the third warm one. A score in a cell is 0 for the worst contender and 1 for the best. A gradient
counts as part of the evaluation at its point.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from elites import cli
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
from elites.runs.bench.kept import Kept
from elites.runs.bench.problems import ASIDE, DESIGN, PROBLEMS, STAGES, Instances
from elites.spaces import Box

KEPT = Kept(Path("results/search.csv"), ("problem", "budget", "start", "contender", "evaluations", "values"))
BUDGETS = (50, 500, 2500, 5000)
DRAWS = 1000  # of the bootstrap
Solve = Callable[[Instances], Iterator[tuple[Tensor, int]]]  # the points (B, *E) and evaluations of every stage


def cem(budget: int, iterations: int = 5) -> CEM:
    samples = max(budget // iterations, 2)
    return CEM(samples=samples, iterations=iterations, elites=max(samples // 10, 2))


def ours(budget: int) -> dict[str, Planner]:
    """The planners with the settings that spend this budget."""
    few = budget < 500
    steps, trials = (2 if few else 10), 4
    ascent = GradientAscent(steps=steps, trials=trials, starts=1)
    rest = cem(budget - 1 - steps * trials)
    quasi = LBFGS(steps=budget // 4 if few else 40)
    short = cem(budget - 1 - quasi.steps)
    fifth, some = max(budget // 5, 2), min(max(budget // 10, 10), 100)
    return {
        "random_shooting": RandomShooting(samples=budget),
        "predictive_sampling": PredictiveSampling(samples=fifth, iterations=5),
        "cem": cem(budget),
        "cem, 10 iterations": cem(budget, 10),
        "icem": ICEM(samples=max(int(budget / 3.36), 4), elites=max(budget // 50, 2)),
        "mppi": MPPI(samples=fifth),
        "gradient_ascent": GradientAscent(steps=min(10, budget // 5), trials=4, starts=max(budget // 41, 1)),
        "lbfgs": LBFGS(steps=min(40, budget - 1), starts=max(budget // 41, 1)),
        "grad_cem": GradCEM(CEM(samples=fifth // 6 + 2, elites=2), GradientAscent(steps=1, trials=5)),
        "cem_gd": CEMGD(cold=rest, warm=rest, ascent=ascent),
        "cem_gd, lbfgs": CEMGD(cold=short, warm=short, ascent=quasi),
        "blend": Blend(samples=budget, warm=None),
        "CMA-ES": CMAES(samples=min(some, 20), iterations=budget // min(some, 20)),
        "CMA-ES, large population": CMAES(samples=some, iterations=budget // some),
    }


def planned(planner: Planner) -> Solve:
    def solve(of: Instances) -> Iterator[tuple[Tensor, int]]:
        rng, plan = Generator().manual_seed(0), None
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

    def solve(of: Instances) -> Iterator[tuple[Tensor, int]]:
        chains = []
        for row in range(of.count):
            torch.manual_seed(row)
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
                problem = Problem("max", value, solution_length=size, initial_bounds=(-1, 1), vectorized=True, seed=0)
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


# --- rows -------------------------------------------------------------------------------------------------------------


def contenders(by: str, budget: int) -> dict[str, tuple[Any, Solve]]:
    if by == "ours":
        found = {name: (planner, planned(planner)) for name, planner in ours(budget).items()}
        if importlib.util.find_spec("cma") is None:
            found = {name: both for name, both in found.items() if not name.startswith("CMA")}
        return found
    others = mbrl(budget) if by == "mbrl" else evotorch(budget)
    return {name: (None, solve) for name, solve in others.items()}


def fits(name: str, planner: Any, of: Instances) -> bool:
    """Whether this contender can search the problem. Those of others search boxes; mbrl-lib's iCEM needs time steps."""
    if name == "mbrl-lib, iCEM" and len(of.space.shape) < 2:
        return False
    if not isinstance(of.space, Box) and (planner is None or isinstance(planner, CMAES)):
        return False
    return of.gradient or not isinstance(planner, GradientAscent | LBFGS | GradCEM | CEMGD)


def run(name: str, budget: int, by: str, screen: cli.Screen) -> None:
    """Adds the rows of a problem and a budget."""
    known = {row["contender"] for row in KEPT.rows(problem=name, budget=str(budget))}
    for contender, (planner, solve) in contenders(by, budget).items():
        of = PROBLEMS[name]()
        if contender in known or not fits(contender, planner, of):
            continue
        screen.status(f"{name}: {contender}, {budget} evaluations")
        objectives, rows = of.at(slice(None)), []
        for stage, (point, evaluations) in enumerate(solve(of)):
            with torch.no_grad():
                values = objectives[stage](point.unsqueeze(1))[:, 0].tolist()
            row = {"problem": name, "budget": str(budget), "contender": contender, "evaluations": str(evaluations)}
            rows.append(row | {"values": " ".join(f"{value:.6g}" for value in values)})
        for start, row in (("cold", rows[0]), ("warm", rows[-1])):
            KEPT.add(row | {"start": start})


# --- scores -----------------------------------------------------------------------------------------------------------

Cell = tuple[str, str, str]  # problem, budget, start


def cells(budgets: Sequence[int]) -> dict[Cell, dict[str, Any]]:
    """{cell: {contender: values (B)}} of the rows with these budgets."""
    found: dict[Cell, dict[str, Any]] = {}
    for row in KEPT.rows():
        if int(row["budget"]) not in budgets:
            continue
        cell = row["problem"], row["budget"], row["start"]
        found.setdefault(cell, {})[row["contender"]] = np.array([float(value) for value in row["values"].split()])
    return found


def scores(of: dict[str, Any], rows: Any = slice(None)) -> dict[str, float]:
    """From 0, the worst contender's mean, to 1, the best one's."""
    means = {name: float(values[rows].mean()) for name, values in of.items()}
    low, high = min(means.values()), max(means.values())
    return {name: (mean - low) / max(high - low, 1e-30) for name, mean in means.items()}


def interval(of: dict[str, Any], name: str) -> tuple[float, float]:
    """95 % of the scores if the instances are drawn again."""
    rng, count = np.random.default_rng(0), len(of[name])
    drawn = [scores(of, rng.integers(count, size=count))[name] for _ in range(DRAWS)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def summary(table: dict[Cell, dict[str, Any]], problems: Sequence[str]) -> list[tuple[str, int, float, float, float]]:
    """(contender, cells, share of cells with 0.9 or more, mean score, least score), best first."""
    each: dict[str, list[float]] = {}
    for (problem, _, _), of in table.items():
        if problem in problems:
            for name, score in scores(of).items():
                each.setdefault(name, []).append(score)
    rows = [(name, len(x), float(np.mean(np.array(x) >= 0.9)), float(np.mean(x)), min(x)) for name, x in each.items()]
    return sorted(rows, key=lambda row: -row[3])


def show(budgets: Sequence[int], out: Path | None) -> None:
    table = cells(budgets)
    for title, problems in (("problems of the design", DESIGN), ("problems kept aside", ASIDE)):
        print(f"\n{title}\n\n| contender | cells | 0.9 or more | mean score | least |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name, count, share, mean, least in summary(table, list(problems)):
            print(f"| {name} | {count} | {share:.0%} | {mean:.2f} | {least:.2f} |")
    print("\n| problem | evaluations | start | blend | interval | the best other | its score |")
    print("| --- | ---: | --- | ---: | --- | --- | ---: |")
    for (problem, budget, start), of in table.items():
        if "blend" in of:
            each = scores(of)
            low, high = interval(of, "blend")
            score, other = max((score, name) for name, score in each.items() if name != "blend")
            values = f"{each['blend']:.2f} | {low:.2f} – {high:.2f} | {other} | {score:.2f}"
            print(f"| {problem} | {budget} | {start} | {values} |")
    if out:
        draw(table, out / "search.png")


def draw(table: dict[Cell, dict[str, Any]], path: Path) -> None:
    """Every score as a colour: a row for each contender, a column for each cell."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [row[0] for row in summary(table, list(PROBLEMS))]
    ordered = [cell for cell in itertools.product(PROBLEMS, map(str, BUDGETS), ("cold", "warm")) if cell in table]
    values = np.full((len(names), len(ordered)), np.nan)
    for j, cell in enumerate(ordered):
        for name, score in scores(table[cell]).items():
            values[names.index(name), j] = score
    figure, axes = plt.subplots(figsize=(13, 6.2), layout="constrained")
    colours = plt.get_cmap("viridis").with_extremes(bad="#f3f4f6")
    picture = axes.imshow(values, aspect="auto", cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    axes.set_yticks(range(len(names)), names)
    problems = [cell[0] for cell in ordered]
    firsts = [i for i, problem in enumerate(problems) if i == 0 or problems[i - 1] != problem]
    middles = [(a + b - 1) / 2 for a, b in itertools.pairwise([*firsts, len(problems)])]
    labels = [problems[i] + ("*" if problems[i] in ASIDE else "") for i in firsts]
    axes.set_xticks(middles, labels, rotation=35, ha="right")
    for first in firsts[1:]:
        axes.axvline(first - 0.5, color="white", linewidth=2)
    budgets = ", ".join(dict.fromkeys(cell[1] for cell in ordered))
    axes.set_title(f"Score in a cell: {budgets} evaluations, cold and warm. * kept aside from the design", fontsize=11)
    figure.colorbar(picture, label="0: the worst contender, 1: the best", pad=0.01)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by", choices=["ours", "mbrl", "evotorch"], default="ours")
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS), metavar="PROBLEM")
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS)
    parser.add_argument("--table", action="store_true", help="print the scores of the rows that are there")
    parser.add_argument("--out", type=Path, metavar="DIR", help="with --table: draw a picture here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    screen = cli.Screen()
    if args.table:
        show(args.budgets, args.out)
        return
    for budget, name in itertools.product(args.budgets, args.problems):
        run(name, budget, args.by, screen)


if __name__ == "__main__":
    cli.run(main)
