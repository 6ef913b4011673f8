"""PETS from settings to a run: what `examples/pets.py` does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium
import torch

from elites import config
from elites.agents import PETS, PETSConfig
from elites.envs import task_of
from elites.runs import Episodes, command

CONFIGS = Path(__file__).parents[1] / "configs/pets"


@dataclass(frozen=True)
class Settings(PETSConfig, Episodes, command.Settings):
    """All that a run is made of: configs/pets/*.yaml, and what --set may set."""

    reward: Literal["known", "learned"] | None = None  # None is known where it is, else learned
    termination: str | None = None  # a name in elites.envs.TERMINATIONS or module:function, where it is not known


def asked_for(args: argparse.Namespace) -> command.Asked:
    mapping, source, flags = command.asked_for(args, CONFIGS, "elites/CartpoleSwingup-v0")
    return mapping, source, flags | ({"planner": config.named(args.planner)} if args.planner else {})


def agent_for(settings: Settings, env: gymnasium.Env[Any, Any], device: torch.device | str = "cpu") -> PETS:
    return PETS(settings, task_of(env, settings.reward, settings.termination), env, settings.seed, device)


def trained(folder: Path, say: Callable[[str], None]) -> tuple[PETS, Settings]:
    """The agent as a run has left it, and the run's settings."""
    return command.trained(folder, say, Settings, agent_for)


def title(settings: Settings) -> str:
    planner = config.dump(settings)["planner"]["name"].rpartition(":")[2]
    return f"{settings.env.rpartition('/')[2]}-{planner}-{settings.seed}"


def made_of(settings: Settings, device: torch.device) -> command.Made:
    env = command.make(settings)
    return agent_for(settings, env, device), env, None


REPORT = "best return {best_return:.1f}, mean of the last three {last_three_mean:.1f}, plan {plan_ms_median:.0f} ms"


def main(description: str | None = None) -> None:
    parser = command.flags(description)
    parser.add_argument("--planner", help="a name, a YAML file or package.module:Class")
    args = parser.parse_args()
    command.run(args, Settings, asked_for, title, made_of, lambda summary: REPORT.format(**summary))
