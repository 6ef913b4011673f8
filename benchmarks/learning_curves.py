"""Draws learning curves of many runs, and prints the table of their results.

    python benchmarks/learning_curves.py outputs/swingup-* --csv results/swingup.csv --out docs/pictures/swingup.png
    python benchmarks/learning_curves.py outputs/cheetah/* --csv results/cheetah.csv --at 25000 50000

A folder's name is NAME-SEED. Runs with evaluations (examples/cgp.py, benchmarks/sb3.py) are compared by the evaluations
after equal numbers of steps, other runs by their episodes. `--by episodes` compares the evaluations of policy searches
after equal numbers of episodes. Without runs, the CSV is drawn again. The table is Markdown.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from elites import cli

FIELDS = ("name", "seed", "phase", "episode", "env_steps", "return", "plan_ms", "memory_mb")
EVALUATED = ("evaluation", "final")
COLUMNS = {"steps": "env_steps", "episodes": "episode"}
Runs = dict[str, dict[int, list[dict[str, str]]]]  # name -> seed -> rows


def collect(folders: list[Path]) -> list[dict[str, str]]:
    """Every evaluation of every ended run. For a run without evaluations, every episode."""
    rows = []
    for folder in folders:
        name, _, seed = folder.name.rpartition("-")
        if not seed.isdecimal():
            raise ValueError(f"{folder}: expected a name such as td3-0, which ends in the seed")
        try:
            summary = json.loads((folder / "summary.json").read_text())
            episodes = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
        except FileNotFoundError as error:
            raise ValueError(f"{folder}: expected a run that has ended: {error.filename} is missing") from None
        figures = {"plan_ms": "plan_ms_median", "memory_mb": "peak_memory_mb"}
        more = {field: str(summary.get(key, "")) for field, key in figures.items()}
        for episode in [row for row in episodes if row["phase"] in EVALUATED] or episodes:
            row = {"name": name, "seed": seed, **{field: episode.get(field, "") for field in FIELDS[2:5]}}
            row["episode"] = episode.get("episodes") or row["episode"]  # of a policy search
            rows.append(row | {"return": f"{float(episode['return']):.2f}"} | more)
    return rows


def by_run(rows: list[dict[str, str]]) -> Runs:
    runs: Runs = defaultdict(lambda: defaultdict(list))
    for row in rows:
        runs[row["name"]][int(row["seed"])].append(row)
    return runs


def returns(episodes: list[dict[str, str]], phase: str = "learning") -> list[float]:
    return [float(row["return"]) for row in episodes if row["phase"] == phase]


def table(runs: Runs) -> str:
    """Means over the seeds."""
    lines = ["| run | seeds | last three | worst seed | best episode |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, seeds in runs.items():
        last = [float(np.mean(returns(episodes)[-3:])) for episodes in seeds.values()]
        best = np.mean([max(returns(episodes)) for episodes in seeds.values()])
        lines.append(f"| `{name}` | {len(seeds)} | {np.mean(last):.1f} | {min(last):.1f} | {best:.1f} |")
    return "\n".join(lines)


def evaluations(rows: list[dict[str, str]], by: str) -> dict[int, float]:
    """{steps or episodes: return of the evaluation} of a run; {} if it has no evaluations."""
    return {
        int(row[COLUMNS[by]]): float(row["return"]) for row in rows if row["phase"] in EVALUATED and row[COLUMNS[by]]
    }


def common(seeds: dict[int, list[dict[str, str]]], by: str) -> dict[int, list[float]]:
    """{steps or episodes: the evaluation of every seed}, if all seeds have one."""
    found = [evaluations(rows, by) for rows in seeds.values()]
    return {step: [one[step] for one in found] for step in sorted(set.intersection(*map(set, found)))}


def table_of_evaluations(runs: Runs, at: list[int], by: str) -> str:
    """Mean over the seeds (and the worst seed). at: steps or episodes; none takes the last that all runs reached."""
    shared = set.intersection(*(set(common(seeds, by)) for seeds in runs.values()))
    if not at and not shared:
        raise ValueError(f"expected evaluations of all runs at equal {by}, found none; choose {by} with --at")
    at = at or [max(shared)]
    heads = ["run", "seeds", *(f"{number:,} {by}" for number in at)]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for name, seeds in runs.items():
        found = common(seeds, by)
        cells = [f"{np.mean(found[step]):.0f} ({min(found[step]):.0f})" if step in found else "" for step in at]
        lines.append(f"| `{name}` | {len(seeds)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(runs: Runs, path: Path, title: str, by: str) -> None:
    """The mean over the seeds of each name, and every seed as a thin line."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    chance: list[float] = []
    for number, (name, seeds) in enumerate(runs.items()):
        if found := common(seeds, by):
            along, curves, label = list(found), list(zip(*found.values(), strict=True)), by
        else:
            every = [returns(episodes) for episodes in seeds.values()]
            along, label = list(range(1, min(map(len, every)) + 1)), "planned episode"
            curves = [tuple(curve[: len(along)]) for curve in every]
        for curve in curves:
            axes.plot(along, curve, color=f"C{number}", alpha=0.2, lw=1)
        axes.plot(along, np.mean(curves, axis=0), "o-", color=f"C{number}", label=f"{name} ({len(curves)})", ms=4)
        chance += [x for episodes in seeds.values() for x in returns(episodes, "random")]
    if chance:
        axes.axhline(float(np.mean(chance)), color="gray", ls=":", label="at random")
    axes.set(xlabel=label, ylabel="return", title=title)
    axes.legend(fontsize=8, ncols=2)
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--out", type=Path, metavar="FILE.png")
    parser.add_argument(
        "--at", nargs="+", type=int, default=[], metavar="NUMBER", help="steps or episodes of the table"
    )
    parser.add_argument("--by", choices=list(COLUMNS), default="steps", help="at what evaluations are compared")
    parser.add_argument("--title", default="Return, mean over seeds")
    args = parser.parse_args()
    if args.runs:
        args.csv.parent.mkdir(parents=True, exist_ok=True)
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(collect(args.runs))
    runs = by_run(list(csv.DictReader(args.csv.read_text().splitlines())))
    evaluated = any(row["phase"] in EVALUATED for seeds in runs.values() for rows in seeds.values() for row in rows)
    found = table_of_evaluations(runs, args.at, args.by) if evaluated else table(runs)
    if args.out:
        draw(runs, args.out, args.title, args.by)
    print(found)


if __name__ == "__main__":
    cli.run(main)
