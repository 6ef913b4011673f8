"""The number of updates for each step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elites.agents import Pace


@pytest.mark.parametrize(
    ("pace", "expected"),
    [
        (Pace(), [1] * 8),
        (Pace(updates=4), [4] * 8),
        (Pace(every=8), [0] * 7 + [1]),
        (Pace(updates=2, every=3), [0, 0, 2, 0, 0, 2, 0, 0]),
    ],
)
def test_updates_of_each_step(pace: Pace, expected: list[int]) -> None:
    assert [pace.owed(step, step + 1) for step in range(8)] == expected


@given(st.integers(1, 5), st.integers(1, 7), st.lists(st.integers(0, 9), max_size=20))
def test_steps_that_come_together_owe_as_many(updates: int, every: int, steps: list[int]) -> None:
    """For any number of environments."""
    pace, done, owed = Pace(updates, every), 0, 0
    for count in steps:
        owed += pace.owed(done, done + count)
        done += count
    assert owed == updates * (done // every)


def test_a_pace_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^Pace\.every: expected an integer of at least 1, got 0$"):
        Pace(every=0)
