"""The settings of a run of PETS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium
import torch

from elites import config
from elites.agents import PETS, PETSConfig
from elites.envs import task_of
from elites.runs.schedule import Episodes
from elites.runs.settings import RunSettings
from elites.runs.summary import Summary

CONFIGS = Path(__file__).parents[1] / "configs/pets"
REPORT = "best return {best_return:.1f}, mean of the last three {last_three_mean:.1f}, plan {plan_ms_median:.0f} ms"


@dataclass(frozen=True)
class PETSSettings(PETSConfig, Episodes, RunSettings):
    """All settings of a run, for configs/pets/*.yaml and --set."""

    reward: Literal["known", "learned"] | None = None  # from elites.envs, or by the model; None is known, if possible
    termination: str | None = None  # a name in elites.envs.TERMINATIONS or module:function; None is the known one

    def make_agent(self, env: gymnasium.Env[Any, Any], device: torch.device | str = "cpu") -> PETS:
        return PETS(self, task_of(env, self.reward, self.termination), env, self.seed, device)

    def title(self) -> str:
        planner = config.dump(self)["planner"]["name"].rpartition(":")[2]
        return f"{self.env_name}-{planner}-{self.seed}"

    def report(self, summary: Summary) -> str:
        return REPORT.format(**summary.as_dict())
