"""How many updates follow how many steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from elites.fields import Checked, Count, Range


@dataclass(frozen=True)
class Pace(Checked):
    """`updates` in a row after every `every`-th step of learning.

    1 and 8 are an eighth of an update a step (MPO); 4 and 1 are four a step (DSPG); 1 and 2048 are a burst (AWR).
    """

    updates: Count = 1
    every: Count = 1
    learning_starts: Annotated[int, Range(0)] = 0  # transitions before the first update; those at random count

    def owed(self, before: int, after: int) -> int:
        """Updates between two counts of the steps of learning."""
        return self.updates * (after // self.every - before // self.every)
