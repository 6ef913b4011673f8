"""Learning curves of many runs, and the table of what they came to.

    python examples/learning_curves.py runs/swingup-* --csv results/swingup.csv --out docs/pictures/swingup.png

A run's name is its planner and its seed: NAME-SEED. Without runs, the CSV is drawn once more. The table is Markdown.
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
Runs = dict[str, dict[int, list[dict[str, str]]]]  # name -> seed -> rows


def collect(folders: list[Path]) -> list[dict[str, str]]:
    """Every episode of every run that has ended."""
    rows = []
    for folder in folders:
        name, _, seed = folder.name.rpartition("-")
        try:
            summary = json.loads((folder / "summary.json").read_text())
            episodes = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
        except FileNotFoundError as error:
            raise ValueError(f"{folder}: expected a run that has ended: {error.filename} is missing") from None
        more = {"plan_ms": str(summary["plan_ms_median"]), "memory_mb": str(summary["peak_memory_mb"])}
        for episode in episodes:
            row = {"name": name, "seed": seed, **{field: episode[field] for field in FIELDS[2:5]}}
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


def draw(runs: Runs, path: Path, title: str) -> None:
    """The mean over the seeds of each name, and every seed as a thin line."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for number, (name, seeds) in enumerate(runs.items()):
        curves = [returns(episodes) for episodes in seeds.values()]
        length, colour = min(map(len, curves)), f"C{number}"
        episode = np.arange(1, length + 1)
        for curve in curves:
            axes.plot(episode, curve[:length], color=colour, alpha=0.2, lw=1)
        mean = np.mean([curve[:length] for curve in curves], axis=0)
        axes.plot(episode, mean, "o-", color=colour, label=f"{name} ({len(curves)})", ms=4)
    chance = [x for seeds in runs.values() for episodes in seeds.values() for x in returns(episodes, "random")]
    axes.axhline(float(np.mean(chance)), color="gray", ls=":", label="at random")
    axes.set(xlabel="planned episode", ylabel="return", title=title)
    axes.legend(fontsize=8, ncols=2)
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--out", type=Path, metavar="FILE.png")
    parser.add_argument("--title", default="Return by episode, mean over seeds")
    args = parser.parse_args()
    if args.runs:
        args.csv.parent.mkdir(parents=True, exist_ok=True)
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(collect(args.runs))
    runs = by_run(list(csv.DictReader(args.csv.read_text().splitlines())))
    if args.out:
        draw(runs, args.out, args.title)
    print(table(runs))


if __name__ == "__main__":
    cli.run(main)
