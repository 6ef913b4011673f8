"""What came out of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any


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
