"""Model-free agents from settings to a run: what `examples/cgp.py` does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium
import torch

from elites import Box, config
from elites.agents import AGENTS, CGP, Algorithm, OffPolicy
from elites.envs import sizes
from elites.fields import Count
from elites.runs.environments import Environments, together
from elites.runs.schedule import Steps
from elites.runs.settings import RunSettings
from elites.runs.summary import Summary

if TYPE_CHECKING:
    from elites.runs import command

CONFIGS = Path(__file__).parents[1] / "configs/cgp"


@dataclass(frozen=True)
class LearnSettings(Steps, RunSettings):
    """All that a run is made of: configs/cgp/*.yaml, and what --set may set."""

    FIXED: ClassVar[tuple[str, ...]] = (*RunSettings.FIXED, "num_envs")
    agent: Algorithm = CGP()
    num_envs: Count = 1

    def make_agent(self, env: gymnasium.Env[Any, Any], device: torch.device | str = "cpu") -> OffPolicy:
        observed, _ = sizes(env)
        return OffPolicy(self.agent, observed, Box.of(env.action_space), self.seed, device)

    def make_environments(self) -> Environments:
        return together([self.make_environment() for _ in range(self.num_envs)])

    def make_evaluation_environments(self) -> Environments | None:
        shown = self.evaluation_episodes
        return together([self.make_environment() for _ in range(shown)]) if shown else None

    def title(self) -> str:
        agent = config.dump(self)["agent"]
        mode = f"-{agent['mode']}" if agent.get("mode") == "offline" else ""
        return f"{self.env.rpartition('/')[2]}-{agent['name'].rpartition(':')[2]}{mode}-{self.seed}"

    def report(self, summary: Summary) -> str:
        if summary.final_evaluation_mean is not None:
            return f"final evaluation {summary.final_evaluation_mean:.1f} ± {summary.final_evaluation_std:.1f}"
        return f"{len(summary.episode_returns)} episodes of learning, none of evaluation"


def asked_for(args: argparse.Namespace) -> command.Asked:
    from elites.runs import command

    mapping, source, flags = command.asked_for(args, CONFIGS, "Pendulum-v1")
    if args.num_envs is not None:
        flags["num_envs"] = args.num_envs
    if args.agent:
        flags["agent"] = config.named(args.agent)
    if args.mode:
        args.set = [*args.set, f"agent.mode={args.mode}"]
    return mapping, source, flags


def trained(folder: Path, say: Callable[[str], None]) -> tuple[OffPolicy, LearnSettings]:
    """The agent as a run has left it, and the run's settings."""
    from elites.runs import command

    return command.trained(folder, say, LearnSettings, OffPolicy)


def main(description: str | None = None) -> None:
    from elites.runs import command

    parser = command.flags(description)
    parser.add_argument("--agent", help=f"{', '.join(AGENTS)}, a YAML file or package.module:Class")
    parser.add_argument("--mode", choices=["online", "offline"], help="when the policy of cgp or qgp learns")
    parser.add_argument("--num-envs", type=int, help="environments that collect at once")
    command.run(parser.parse_args(), LearnSettings, asked_for)
