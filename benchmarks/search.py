"""How good one plan is at equal evaluations: every planner here, and others', on bowls, Q-functions, tasks and models.

    python benchmarks/search.py                                     # this package's planners, and CMA-ES
    .venv-mbrl/bin/python benchmarks/search.py --by mbrl            # mbrl-lib's
    PYTHONPATH=. .venv-evotorch/bin/python benchmarks/search.py --by evotorch
    python benchmarks/search.py --table --out docs/pictures

Each run adds rows to results/search.csv and skips those that are there. A row has the values of all instances after a
cold plan, or after the third warm one. With 50 evaluations they are means over five runs. A score in a cell is 0 for
the worst contender and 1 for the best. A gradient counts as part of the evaluation at its point.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elites import cli
from elites.runs.bench.contenders import contenders, fits
from elites.runs.bench.kept import Kept
from elites.runs.bench.problems import ASIDE, DESIGN, PROBLEMS, posed

KEPT = Kept(Path("results/search.csv"), ("problem", "budget", "start", "contender", "evaluations", "values"))
BUDGETS = (50, 500, 2500, 5000)
RUNS = {50: 5}  # of a cell, as small plans are left to chance; others have one
DRAWS = 1000  # of the bootstrap


# --- rows -------------------------------------------------------------------------------------------------------------


def run(name: str, budget: int, by: str, screen: cli.Screen) -> None:
    """Adds the rows of a problem and a budget."""
    known = {row["contender"] for row in KEPT.rows(problem=name, budget=str(budget))}
    for contender, (planner, solve) in contenders(by, budget).items():
        of = posed(name, budget)
        if contender in known or not fits(contender, planner, of.space, of.gradient):
            continue
        screen.status(f"{name}: {contender}, {budget} evaluations")
        objectives, rows = of.at(slice(None)), []
        for stage, found in enumerate(zip(*(solve(of, seed) for seed in range(RUNS.get(budget, 1))), strict=True)):
            with torch.no_grad():
                several = torch.stack([objectives[stage](point.unsqueeze(1))[:, 0] for point, _ in found])
            values, evaluations = several.mean(0).tolist(), max(spent for _, spent in found)
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
