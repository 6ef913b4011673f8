"""How well models predict: our training and mbrl-lib's, on the same transitions, tested on held-out episodes.

    python benchmarks/models.py
    .venv-mbrl/bin/python benchmarks/models.py --trainer elites mbrl-lib --csv results/models.csv
    python benchmarks/models.py --data hopper-random halfcheetah-half --seeds 3
    python benchmarks/models.py --set training.beta=0.5 --set model.architecture.layer_norm=none

Transitions have random actions, or the actions of a half-trained agent: TD3, stopped early, or a noisy planner. They
are made once and kept in a folder. All figures are of whole episodes that no trainer has seen. RMSE is in units of the
spread, NLL is in nats per entry. An open loop is the mean of 20 particles after 20 and 45 steps of the recorded
actions. mbrl-lib runs in .venv-mbrl, which `make test-mbrl` makes.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from elites import cli, config
from elites.runs.bench.foresight import foresight
from elites.runs.bench.trainers import TRAINERS, Ours
from elites.runs.bench.transitions import POLICIES, SOURCES, data_set

SETS = [f"{source}-{policy}" for source in SOURCES for policy in POLICIES]
SHOWN = ("nll", "rmse", "coverage_50", "coverage_90", "open_20", "open_45", "seconds", "epochs")
Row = dict[str, str | float]


def rows_of(
    sets: list[str], trainers: list[str], seeds: int, epochs: int | None, ours: Ours, folder: Path
) -> Iterable[Row]:
    """A row for every data set, seed and trainer. The trainers take turns."""
    screen = cli.Screen()
    for name in sets:
        source, _, policy = name.rpartition("-")
        data = data_set(source, policy, folder, screen.status)
        for seed in range(seeds):
            for by in trainers:
                screen.status(f"{name}  seed {seed}  {by}: training")
                trained = TRAINERS[by](data, seed, epochs, ours)
                found = {key: round(value, 4) for key, value in asdict(foresight(trained.model, data)).items()}
                cost = {"epochs": trained.epochs, "seconds": round(trained.seconds, 2)}
                screen.line(f"{name}  seed {seed}  {by}: {found['nll']:.2f} nats, {trained.seconds:.1f} s")
                yield {"data": name, "trainer": by, "seed": seed, **found, **cost}


def table(rows: list[Row]) -> str:
    """Medians over the seeds."""
    lines = [f"| data | trainer | {' | '.join(SHOWN)} |", f"| --- | --- |{' ---: |' * len(SHOWN)}"]
    for data, by in dict.fromkeys((row["data"], row["trainer"]) for row in rows):
        same = [row for row in rows if (row["data"], row["trainer"]) == (data, by)]
        medians = [np.median([float(row[key]) for row in same]) for key in SHOWN]
        lines.append(f"| {data} | {by} | {' | '.join(f'{median:.3f}' for median in medians)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=SETS, metavar="SET", default=SETS, help=f"of {', '.join(SETS)}")
    parser.add_argument("--trainer", nargs="+", choices=TRAINERS, help="default: all that are installed")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds")
    parser.add_argument("--epochs", type=int, help="the most epochs (default: each trainer's own number)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="our model.… or training.…")
    parser.add_argument("--folder", type=Path, default=Path("outputs/models"), help="the folder of the transitions")
    parser.add_argument("--csv", type=Path, help="the file for the figures")
    args = parser.parse_args()
    for name in ("seeds", "epochs"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise ValueError(f"--{name}: expected at least 1, got {value}")
    installed = importlib.util.find_spec("mbrl") is not None
    if "mbrl-lib" in (args.trainer or ()) and not installed:
        raise ValueError("--trainer: mbrl-lib is not installed here; it is in .venv-mbrl, which `make test-mbrl` makes")
    trainers = args.trainer or [name for name in TRAINERS if installed or name != "mbrl-lib"]
    ours = config.build(Ours, config.override({}, args.set), "--set")
    rows = list(rows_of(args.data, trainers, args.seeds, args.epochs, ours, args.folder))
    if args.csv:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    print(table(rows))


if __name__ == "__main__":
    cli.run(main)
