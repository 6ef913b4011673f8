"""What came out of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from elites.agents.learner import Learner
from elites.runs.meter import Meter
from elites.runs.progress import Progress

# The rows that a figure of the summary is of, by their phases.
PHASES = {"random": ("random",), "learning": ("learning",), "evaluation": ("evaluation", "final")}


@dataclass(frozen=True)
class Summary:
    """The figures of a run: `as_dict` is what summary.json holds.

    finished: whether the schedule is at its end; a run that was stopped can be gone on with. The returns are those of
    the episodes in their order: of learning, at random, and of evaluations (where one stands for several episodes,
    their mean). agent: figures of the agent's own.
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
    evaluation_steps: Sequence[int] | None = None  # None where there were no evaluations in environments of their own
    final_evaluation_mean: float | None = None
    final_evaluation_std: float | None = None
    peak_memory_mb: float | None = None  # None where the platform does not say
    agent: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; the agent's figures stand among the others, and what there was no evaluation for is left out."""
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "agent"}
        evaluated = ("evaluation_steps", "final_evaluation_mean", "final_evaluation_std")
        return {name: value for name, value in found.items() if name not in evaluated or value is not None} | dict(
            self.agent
        )


def of(name: str, progress: Progress, meter: Meter, agent: Learner, evaluated: bool, finished: bool) -> Summary:
    """What a run has come to. evaluated: whether it is, in environments of their own."""
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
