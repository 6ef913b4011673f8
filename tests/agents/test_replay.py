"""The replay buffer."""

from __future__ import annotations

import pytest
import torch

from elites.agents import Replay


def filled(count: int, capacity: int = 1_000_000) -> Replay:
    replay = Replay(capacity)
    for i in range(count):
        replay.add(state=[i, 0.5], action=[-i], reward=i / 10, next_state=[i + 1, 0.5], terminated=i % 2 == 1)
    return replay


def test_rows_in_the_order_in_which_they_came() -> None:
    replay = filled(3000)
    assert len(replay) == replay.total == 3000
    assert replay.column("state").tolist() == [[i, 0.5] for i in range(3000)]
    assert replay.column("next_state")[:, 0].tolist() == list(range(1, 3001))
    assert replay.column("action").shape == (3000, 1)
    assert replay.column("terminated").tolist() == [i % 2 for i in range(3000)]


def test_the_oldest_make_room() -> None:
    replay = filled(25, capacity=10)
    assert (len(replay), replay.total) == (10, 25)
    assert replay.column("state")[:, 0].tolist() == list(range(15, 25))


@pytest.mark.parametrize(("count", "capacity"), [(0, 10), (7, 10), (10, 10), (25, 10), (2000, 1500)])
def test_saved_and_gone_on_with(count: int, capacity: int) -> None:
    replay, other = filled(count, capacity), Replay(capacity)
    other.load_state_dict(replay.state_dict())
    for buffer in (replay, other):
        buffer.add(state=[9.0, 9.0], action=[9.0], reward=9.0, next_state=[9.0, 9.0], terminated=False)
    assert other.total == replay.total == count + 1
    for name in Replay.FIELDS:
        assert torch.equal(replay.column(name), other.column(name))


@pytest.mark.parametrize(
    ("count", "before", "after"), [(25, 10, 20), (25, 20, 10), (25, 10, 30), (7, 10, 5), (7, 5, 10)]
)
def test_gone_on_with_in_a_larger_or_smaller_one(count: int, before: int, after: int) -> None:
    other = Replay(after)
    other.load_state_dict(filled(count, before).state_dict())
    for i in range(count, count + 13):
        held = min(min(count, before, after) + i - count, after)
        assert len(other) == held
        assert other.column("state")[:, 0].tolist() == list(range(i - held, i))
        other.add(state=[i, 0.5], action=[-i], reward=i / 10, next_state=[i + 1, 0.5], terminated=False)


def test_an_empty_one() -> None:
    with pytest.raises(ValueError, match="Replay: expected transitions, found none"):
        Replay().column("state")
