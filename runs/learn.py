"""Model-free agents from settings to a run: what `examples/cgp.py` does."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from elites import config
from elites.agents import AGENTS, CGP, Agent, Algorithm
from elites.envs import sizes
from elites.fields import Count
from elites.runs import Steps, command, together

CONFIGS = Path(__file__).parents[1] / "configs/cgp"


@dataclass(frozen=True)
class Settings(Steps, command.Settings):
    """All that a run is made of: configs/cgp/*.yaml, and what --set may set."""

    agent: Algorithm = CGP()
    num_envs: Count = 1


def asked_for(args: argparse.Namespace) -> command.Asked:
    mapping, source, flags = command.asked_for(args, CONFIGS, "Pendulum-v1")
    if args.num_envs is not None:
        flags["num_envs"] = args.num_envs
    if args.agent:
        flags["agent"] = config.named(args.agent)
    if args.mode:
        args.set = [*args.set, f"agent.mode={args.mode}"]
    return mapping, source, flags


def agent_for(settings: Settings, env: Any, device: torch.device | str = "cpu") -> Agent:
    observed, _ = sizes(env)
    return Agent(settings.agent, observed, env.action_space, settings.seed, device)


def trained(folder: Path, say: Callable[[str], None]) -> tuple[Agent, Settings]:
    """The agent as a run has left it, and the run's settings."""
    return command.trained(folder, say, Settings, agent_for)


def made_of(settings: Settings, device: torch.device) -> command.Made:
    def many(count: int) -> Any:
        return together([command.make(settings) for _ in range(count)])

    envs, shown = many(settings.num_envs), settings.evaluation_episodes
    return agent_for(settings, envs.envs[0], device), envs, many(shown) if shown else None


def title(settings: Settings) -> str:
    agent = config.dump(settings)["agent"]
    mode = f"-{agent['mode']}" if agent.get("mode") == "offline" else ""
    return f"{settings.env.rpartition('/')[2]}-{agent['name'].rpartition(':')[2]}{mode}-{settings.seed}"


def report(summary: Mapping[str, Any]) -> str:
    if "final_evaluation_mean" in summary:
        return "final evaluation {final_evaluation_mean:.1f} ± {final_evaluation_std:.1f}".format(**summary)
    return f"{len(summary['episode_returns'])} episodes of learning, none of evaluation"


def main(description: str | None = None) -> None:
    parser = command.flags(description)
    parser.add_argument("--agent", help=f"{', '.join(AGENTS)}, a YAML file or package.module:Class")
    parser.add_argument("--mode", choices=["online", "offline"], help="when the policy of cgp or qgp learns")
    parser.add_argument("--num-envs", type=int, help="environments that collect at once")
    command.run(parser.parse_args(), Settings, asked_for, title, made_of, report)
