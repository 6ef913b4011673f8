"""The settings of a run of a model-free agent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import torch

from elites import config
from elites.agents import CGP, Agent, Algorithm
from elites.envs import sizes
from elites.fields import Count
from elites.runs.environments import Environments, together
from elites.runs.schedule import Steps
from elites.runs.settings import RunSettings
from elites.runs.summary import Summary

CONFIGS = Path(__file__).parents[1] / "configs/learn"


@dataclass(frozen=True)
class LearnSettings(Steps, RunSettings):
    """All settings of a run, for configs/learn/ and --set."""

    FIXED: ClassVar[tuple[str, ...]] = (*RunSettings.FIXED, "num_envs")
    agent: Algorithm = CGP()
    num_envs: Count = 1  # number of environments that collect at once

    @property
    def at_random(self) -> int:
        return self.agent.random_steps if self.random_steps is None else self.random_steps

    def make_agent(self, env: gymnasium.Env[Any, Any], device: torch.device | str = "cpu") -> Agent:
        observed, _ = sizes(env)
        return Agent(self.agent, observed, env.action_space, self.seed, device)

    def make_environments(self) -> Environments:
        return together([self.make_environment() for _ in range(self.num_envs)])

    def make_evaluation_environments(self) -> Environments | None:
        shown = self.evaluation_episodes
        return together([self.make_environment() for _ in range(shown)]) if shown else None

    def title(self) -> str:
        agent = config.dump(self)["agent"]
        mode = f"-{agent['mode']}" if agent.get("mode") == "offline" else ""
        return f"{self.env_name}-{agent['name'].rpartition(':')[2]}{mode}-{self.seed}"

    def report(self, summary: Summary) -> str:
        if summary.final_evaluation_mean is not None:
            return f"final evaluation {summary.final_evaluation_mean:.1f} ± {summary.final_evaluation_std:.1f}"
        return f"{len(summary.episode_returns)} episodes of learning, no evaluation"
