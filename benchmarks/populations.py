"""Steps a second of a population of linear policies, beside EvoTorch's GymNE and beside the environments alone.

    make .venv-evotorch/installed
    python benchmarks/populations.py --json results/populations.json
    python benchmarks/populations.py --alone --json results/populations_alone.json

Every contender plays one episode with each of the policies. The contenders take turns, and the figures are medians of
rounds. The floor is the environments alone: one process steps them through the same episodes with recorded actions.
It has the rows of `elites search`; "Gymnasium" are as many environments of Gymnasium, with the same bits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator

from elites import cli
from elites.agents import Population, Spaces
from elites.agents.playing import Episodes, Stage
from elites.runs.bench.comparison import machine
from elites.runs.environments import make
from elites.runs.stages import Singles, stage
from elites.runs.workers.crew import Crew, crew_of
from elites.runs.workers.player import Generation, Task

EVOTORCH = Path(".venv-evotorch/bin/python")
# A program: environment, population, actors -> for every line of input, the steps and seconds of a generation.
THEIRS = """
import json, sys, time, warnings, logging
warnings.simplefilter("ignore")
env, count, actors = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
import torch
from evotorch.neuroevolution import GymNE
logging.disable(logging.CRITICAL)
problem = GymNE(env, "Linear(obs_length, act_length)", num_actors=actors, initial_bounds=(-0.5, 0.5))
batch = problem.generate_batch(count)
problem.evaluate(batch)
print("ready", flush=True)
for line in sys.stdin:
    batch, before = problem.generate_batch(count), problem.status["total_interaction_count"]
    began = time.perf_counter()
    problem.evaluate(batch)
    seconds = time.perf_counter() - began
    print(json.dumps([int(problem.status["total_interaction_count"] - before), seconds]), flush=True)
"""
Measured = tuple[int, float]  # steps, seconds


def generations(env: str, count: int) -> tuple[Task, Iterator[Generation]]:
    """The task of linear policies, and new weights and episodes for every round."""
    one = make(env)
    population = Population(Spaces.of(int(np.prod(one.observation_space.shape or ())), one.action_space))

    def drawn() -> Iterator[Generation]:
        for number in range(1_000_000):
            points = torch.rand(count, population.size, generator=Generator().manual_seed(number)) - 0.5
            yield Generation(points, np.arange(count)[:, None] + number * count)

    return Task(env, None, population), drawn()


def ours(crew: Crew, generation: Generation) -> Measured:
    began = time.perf_counter()
    scores = crew.play(generation, lambda step, under_way: None)
    return int(scores.lengths.sum()), time.perf_counter() - began


class Recorded:
    """A stage whose actions are recorded."""

    def __init__(self, of: Stage) -> None:
        self.of, self.count, self.steps = of, of.count, list[tuple[Any, Any]]()

    def begin(self, seeds: Any) -> Any:
        return self.of.begin(seeds)

    def step(self, rows: Any, action: Any) -> Any:
        self.steps.append((rows, action))
        return self.of.step(rows, action)


def floor(task: Task, on: Stage, generation: Generation) -> Measured:
    """The environments alone, in this process: the same steps with recorded actions."""
    recorded = Recorded(on)
    Episodes(task.population.at(generation.points), recorded, generation.seeds).go_on()
    began = time.perf_counter()
    on.begin([int(seed) for seed in generation.seeds.flat])
    for rows, action in recorded.steps:
        on.step(rows, action)
    return sum(len(rows) for rows, _ in recorded.steps), time.perf_counter() - began


class EvoTorch:
    """EvoTorch in an environment of its own."""

    def __init__(self, env: str, count: int, actors: int) -> None:
        command = [str(EVOTORCH), "-c", THEIRS, env, str(count), str(actors)]
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, text=True)
        while self._line().strip() != "ready":
            pass

    def _line(self) -> str:
        assert self.process.stdout
        if not (line := self.process.stdout.readline()):
            raise RuntimeError(f"EvoTorch ended with exit code {self.process.wait()}")
        return line

    def __call__(self, generation: Generation) -> Measured:
        """EvoTorch draws policies of its own."""
        assert self.process.stdin
        print(file=self.process.stdin, flush=True)
        steps, seconds = json.loads(self._line())
        return steps, seconds

    def close(self) -> None:
        self.process.kill()


def measured(env: str, count: int, workers: int, rounds: int, alone: bool, screen: cli.Screen) -> dict[str, Any]:
    """Medians over the rounds of steps a second of everyone, and of the ratios within a round."""
    torch.set_num_threads(1)
    task, drawn = generations(env, count)
    most = f"{workers} workers" if workers > 1 else "1 worker"
    crews = {"1 worker": crew_of(1, task, screen.warn), most: crew_of(workers, task, screen.warn)}
    on = stage(env, count)
    turns: dict[str, Callable[[Generation], Measured]] = {name: partial(ours, crew) for name, crew in crews.items()}
    turns["floor"] = partial(floor, task, on)
    turns["Gymnasium"] = partial(floor, task, Singles([make(env) for _ in range(count)]))
    theirs = EvoTorch(env, count, workers) if EVOTORCH.exists() and not alone else None
    if theirs is not None:
        turns["EvoTorch"] = theirs
    speeds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(1 + rounds):  # the first round makes the environments
        generation = next(drawn)
        for name, turn in turns.items():
            screen.status(f"{env}: round {number} of {rounds}  {name}")
            steps, seconds = turn(generation)
            if number:
                speeds[name].append(steps / seconds)
    for each in (*crews.values(), theirs):
        if each is not None:
            each.close()
    found: dict[str, Any] = {"env": env} | {name: round(float(np.median(each))) for name, each in speeds.items()}
    pairs = {"of the floor": ("1 worker", "floor", 1), "efficiency": (most, "1 worker", workers)}
    pairs["times Gymnasium"] = "floor", "Gymnasium", 1
    pairs |= {"times EvoTorch": (most, "EvoTorch", 1)} if theirs else {}
    ratios = {
        name: float(np.median(np.array(speeds[a]) / np.array(speeds[b]) / by)) for name, (a, b, by) in pairs.items()
    }
    return found | {name: round(value, 3) for name, value in ratios.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", default=["Swimmer-v5", "Walker2d-v5"], metavar="ENV")
    parser.add_argument("--population", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="without EvoTorch, whose idle processes take time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    args = parser.parse_args()
    screen = cli.Screen()
    rows = [measured(env, args.population, args.workers, args.rounds, args.alone, screen) for env in args.envs]
    for row in rows:
        print("  ".join(f"{name}: {value}" for name, value in row.items()))
    if args.json:
        command = " ".join(["python", *sys.argv])
        args.json.write_text(json.dumps({"machine": machine("cpu"), "command": command, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    cli.run(main)
