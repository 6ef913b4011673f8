"""What the model promises and what the world pays: planners through one trained model, each in the same episodes.

    python benchmarks/promise.py outputs/HumanoidStandup-v0-cem-0 --planner cem cem_gd '{name: cem, iterations: 50}'

A plan's value is what the model expects of the steps to come by the particles it was found with; `found out` is the
same plan by 200 others. Where promises rise and returns do not, the search climbs the model's errors.
"""

from __future__ import annotations

import argparse
import csv
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

FIELDS = ("planner", "start", "steps", "return", "promised", "found_out")
OTHERS = 200  # particles
EVERY = 5  # steps, between plans that are found out


def planned(text: str, settings: PETSSettings) -> PETSSettings:
    """The run's settings with another planner: a name, a YAML file or the mapping itself."""
    mapping = yaml.safe_load(text) if text.startswith("{") else config.named(text)
    return replace(settings, planner=config.build(Planner, mapping, f"--planner {text}"))  # type: ignore[type-abstract]


def episode(agent: PETS, env: gymnasium.Env[Any, Any], start: int, steps: int) -> dict[str, float]:
    observation, _ = env.reset(seed=start)
    agent.begin()
    assert isinstance(agent.mpc.returns, Return)
    strangers = replace(agent.mpc.returns, particles=OTHERS)
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


def compare(args: argparse.Namespace, screen: cli.Screen) -> Iterator[dict[str, Any]]:
    model, settings = load_pets(args.run, screen.warn)
    if model.task.learned_reward:
        raise ValueError(f"{args.run}: expected a run whose reward is known, as the model's is no judge of the model")
    env = settings.make_environment()
    for start in args.starts:
        for text in args.planner:
            screen.status(f"{settings.env}  start {start}  {text}")
            agent = planned(text, settings).make_agent(env)
            agent.model.load_state_dict(model.model.state_dict())
            found = {name: f"{value:.1f}" for name, value in episode(agent, env, start, args.steps).items()}
            yield {"planner": text, "start": start, "steps": args.steps, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run of examples/pets.py")
    parser.add_argument("--planner", nargs="+", default=["cem", "cem_gd"], help="names, YAML files, or {name: …}")
    parser.add_argument("--starts", nargs="+", type=int, default=[100, 101], help="seeds of episodes")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--csv", type=Path, metavar="FILE.csv")
    args = parser.parse_args()
    if args.steps < 1:
        raise ValueError(f"--steps: expected at least 1, got {args.steps}")
    screen = cli.Screen()
    rows = []
    print("| planner | start | return | promised | found out |\n| --- | ---: | ---: | ---: | ---: |")
    for row in compare(args, screen):
        rows.append(row)
        print("| `{planner}` | {start} | {return} | {promised} | {found_out} |".format(**row), flush=True)
        if args.csv:
            args.csv.parent.mkdir(parents=True, exist_ok=True)
            with args.csv.open("w", newline="") as file:
                writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    cli.run(main)
