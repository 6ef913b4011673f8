"""The number of updates for each step of learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from elites.fields import Checked, Count, Range


@dataclass(frozen=True)
class Pace(Checked):
    """`updates` in a row after every `every` steps of learning.

    updates=1 with every=8 is 1/8 update a step (MPO). updates=4 with every=1 is four updates a step (DSPG).
    """

    updates: Count = 1  # updates in a row
    every: Count = 1  # steps of learning between two rows of updates
    learning_starts: Annotated[int, Range(0)] = 0  # transitions before the first update, random ones included

    def owed(self, before: int, after: int) -> int:
        """The number of updates due from step `before` to step `after`."""
        return self.updates * (after // self.every - before // self.every)
