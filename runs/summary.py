"""The results of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from elites.agents.learner import Learner
from elites.runs.meter import Meter
from elites.runs.progress import Progress

# The phases of the rows behind each figure of the summary.
PHASES = {"random": ("random",), "learning": ("learning",), "evaluation": ("evaluation", "final")}


@dataclass(frozen=True)
class Summary:
    """The figures of a run. summary.json holds `as_dict`.

    finished: whether the run reached the end of its schedule. A stopped run can be resumed. The returns are in the
    order of the episodes: of learning, of random actions, and of evaluations (one mean for each evaluation of several
    episodes). agent: the agent's own figures.
    """

    env: str
    seed: int
    finished: bool
    episode_returns: Sequence[float]
    best_return: float | None
    last_three_mean: float | None
    random_returns: Sequence[float]
    evaluation_returns: Sequence[float]
    env_steps: int
    wall_s: float
    evaluation_steps: Sequence[int] | None = None  # None if no evaluations ran in environments of their own
    final_evaluation_mean: float | None = None
    final_evaluation_std: float | None = None
    peak_memory_mb: float | None = None  # None if the platform does not tell
    agent: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON values, with the agent's figures among them. Without evaluations, their figures are left out."""
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "agent"}
        evaluated = ("evaluation_steps", "final_evaluation_mean", "final_evaluation_std")
        return {name: value for name, value in found.items() if name not in evaluated or value is not None} | dict(
            self.agent
        )


def of(name: str, progress: Progress, meter: Meter, agent: Learner, evaluated: bool, finished: bool) -> Summary:
    """The summary of a run. evaluated: whether evaluations run in environments of their own."""
    rows = {phase: [row for row in progress.rows if row["phase"] in phases] for phase, phases in PHASES.items()}
    learned, shown = ([row["return"] for row in rows[phase]] for phase in ("learning", "evaluation"))
    last = rows["evaluation"][-1] if evaluated and rows["evaluation"] else {}
    peak = meter.peak_mb
    return Summary(
        env=name,
        seed=progress.seed,
        finished=finished,
        episode_returns=learned,
        best_return=max(learned, default=None),
        last_three_mean=float(np.mean(learned[-3:])) if learned else None,
        random_returns=[row["return"] for row in rows["random"]],
        evaluation_returns=shown,
        evaluation_steps=[row["env_steps"] for row in rows["evaluation"]] if evaluated else None,
        final_evaluation_mean=last.get("return"),
        final_evaluation_std=last.get("std"),
        peak_memory_mb=None if peak is None else round(peak, 1),
        env_steps=progress.steps,
        wall_s=round(meter.wall_s, 1),
        agent=agent.summary(),
    )
