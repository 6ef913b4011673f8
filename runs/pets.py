"""PETS from settings to a run: what `examples/pets.py` does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gymnasium
import torch

from elites import config
from elites.agents import PETS, PETSConfig
from elites.envs import task_of
from elites.runs.schedule import Episodes
from elites.runs.settings import RunSettings
from elites.runs.summary import Summary

if TYPE_CHECKING:
    from elites.runs import command

CONFIGS = Path(__file__).parents[1] / "configs/pets"
REPORT = "best return {best_return:.1f}, mean of the last three {last_three_mean:.1f}, plan {plan_ms_median:.0f} ms"


@dataclass(frozen=True)
class PETSSettings(PETSConfig, Episodes, RunSettings):
    """All that a run is made of: configs/pets/*.yaml, and what --set may set."""

    reward: Literal["known", "learned"] | None = None  # None is known where it is, else learned
    termination: str | None = None  # a name in elites.envs.TERMINATIONS or module:function, where it is not known

    def make_agent(self, env: gymnasium.Env[Any, Any], device: torch.device | str = "cpu") -> PETS:
        return PETS(self, task_of(env, self.reward, self.termination), env, self.seed, device)

    def title(self) -> str:
        planner = config.dump(self)["planner"]["name"].rpartition(":")[2]
        return f"{self.env.rpartition('/')[2]}-{planner}-{self.seed}"

    def report(self, summary: Summary) -> str:
        return REPORT.format(**summary.as_dict())


def asked_for(args: argparse.Namespace) -> command.Asked:
    from elites.runs import command

    mapping, source, flags = command.asked_for(args, CONFIGS, "elites/CartpoleSwingup-v0")
    return mapping, source, flags | ({"planner": config.named(args.planner)} if args.planner else {})


def trained(folder: Path, say: Callable[[str], None]) -> tuple[PETS, PETSSettings]:
    """The agent as a run has left it, and the run's settings."""
    from elites.runs import command

    return command.trained(folder, say, PETSSettings, PETS)


def main(description: str | None = None) -> None:
    from elites.runs import command

    parser = command.flags(description)
    parser.add_argument("--planner", help="a name, a YAML file or package.module:Class")
    command.run(parser.parse_args(), PETSSettings, asked_for)
