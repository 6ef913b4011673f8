"""The return that a model predicts and the real return: planners through the same trained models and episodes.

    python benchmarks/promise.py outputs/HumanoidStandup-v0-cem-0 --planner cem cem_gd '{name: cem, iterations: 50}'
    python benchmarks/promise.py outputs/HalfCheetah-v0-cem_gd-0 --settings horizon=10 'horizon=45 value=null'

`promised` is a plan's value in its search. `found out` is the value of the same plan by 200 other particles. If the
promised value rises and the return does not, the search climbs the model's errors.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import yaml
from torch import Generator

from elites import cli, config
from elites.agents import PETS
from elites.dynamics import Return
from elites.planners import Planner
from elites.runs.load import load_pets
from elites.runs.pets import PETSSettings

FIELDS = ("run", "planner", "settings", "start", "steps", "return", "promised", "found_out")
OTHERS = 200  # particles
EVERY = 5  # steps between two plans that are scored by other particles


def planned(text: str, settings: PETSSettings) -> PETSSettings:
    """The run's settings with another planner: a name, a YAML file or a mapping. "" keeps the run's own."""
    if not text:
        return settings
    mapping = yaml.safe_load(text) if text.startswith("{") else config.named(text)
    return replace(settings, planner=config.build(Planner, mapping, f"--planner {text}"))  # type: ignore[type-abstract]


def changed(settings: PETSSettings, text: str) -> PETSSettings:
    """The run's settings with changes such as `KEY=VALUE KEY=VALUE`."""
    mapping = config.override(config.dump(settings), shlex.split(text))
    return config.build(PETSSettings, mapping, f"--settings {text}")


def taught(settings: PETSSettings, by: PETS, env: gymnasium.Env[Any, Any]) -> PETS:
    """A new agent with these settings and the learned state of `by`."""
    agent = settings.make_agent(env)
    agent.model.load_state_dict(by.model.state_dict())
    if agent.value is not None:
        if by.value is None:
            raise ValueError("--settings: expected value=null, as the run has learned no value")
        agent.value.load_state_dict(by.value.state_dict())
    return agent


def episode(agent: PETS, env: gymnasium.Env[Any, Any], start: int, steps: int) -> dict[str, float]:
    observation, _ = env.reset(seed=start)
    agent.begin()
    assert isinstance(agent.mpc.returns, Return)
    strangers = replace(agent.mpc.returns, particles=OTHERS, gradient="particles")
    total, promised, found_out = 0.0, [], []
    for step in range(steps):
        action = agent.act(observation)
        assert agent.mpc.last
        plan = agent.mpc.last.plan
        promised.append(plan.value.item())
        if step % EVERY == 0:
            state = torch.as_tensor(observation, dtype=torch.float32)[None]
            objective = strangers.at(state, Generator().manual_seed(0))
            found_out.append(objective(plan.best.unsqueeze(1)).item())
        observation, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        if terminated or truncated:
            break
    return {"return": total, "promised": float(np.mean(promised)), "found_out": float(np.mean(found_out))}


def compare(run: Path, args: argparse.Namespace, screen: cli.Screen) -> Iterator[dict[str, Any]]:
    model, settings = load_pets(run, screen.warn)
    if model.task.learned_reward:
        raise ValueError(f"{run}: expected a run with a known reward, got one whose model learns it")
    env = settings.make_environment()
    for start, text, settings_text in itertools.product(args.starts, args.planner, args.settings):
        screen.status(f"{settings.env}  start {start}  {text} {settings_text}")
        agent = taught(changed(planned(text, settings), settings_text), model, env)
        found = {name: f"{value:.1f}" for name, value in episode(agent, env, start, args.steps).items()}
        what = {"planner": text, "settings": settings_text, "start": start, "steps": args.steps}
        yield {"run": run.name, **what, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs of examples/pets.py")
    parser.add_argument("--planner", nargs="+", default=[""], help="names, YAML files or {name: …}; else the run's")
    parser.add_argument("--settings", nargs="+", default=[""], metavar="KEY=VALUE…", help="changes to try, one by one")
    parser.add_argument("--starts", nargs="+", type=int, default=[100, 101], help="seeds of episodes")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--csv", type=Path, metavar="FILE.csv")
    args = parser.parse_args()
    if args.steps < 1:
        raise ValueError(f"--steps: expected at least 1, got {args.steps}")
    screen = cli.Screen()
    rows = []
    print("| run | planner, settings | start | return | promised | found out |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for row in itertools.chain.from_iterable(compare(run, args, screen) for run in args.runs):
        rows.append(row)
        named = " ".join(filter(None, (row["planner"], row["settings"]))) or "the run's own"
        figures = " | ".join(str(row[name]) for name in ("start", "return", "promised", "found_out"))
        print(f"| {row['run']} | `{named}` | {figures} |", flush=True)
        if args.csv:
            args.csv.parent.mkdir(parents=True, exist_ok=True)
            with args.csv.open("w", newline="") as file:
                writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    cli.run(main)
