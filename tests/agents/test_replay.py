"""The replay buffer: rows, episodes, and its part of a checkpoint."""

from __future__ import annotations

import copy
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Generator, tensor

from elites.agents import Grown, Replay
from elites.agents.algorithms.episodes import whole
from elites.agents.replay import transitions

SCHEMA = transitions(2, 1)


def row(i: int, terminated: bool = False, truncated: bool = False, where: int = 0) -> dict[str, Any]:
    """Row number i."""
    columns = {"state": [i, 0.5], "action": [-i], "reward": i / 10, "next_state": [i + 1, 0.5]}
    columns |= {"terminated": terminated, "truncated": truncated, "where": where}
    return {name: tensor([value]) for name, value in columns.items()}


def filled(count: int, capacity: int = 1_000_000) -> Replay:
    replay = Replay(SCHEMA, capacity)
    for i in range(count):
        replay.extend(row(i, terminated=i % 4 == 3, truncated=i % 4 == 1))
    return replay


def numbers(rows: Any) -> list[int]:
    """The numbers of these rows."""
    found: list[int] = rows.state[:, 0].int().tolist()
    return found


def test_rows_in_the_order_in_which_they_came() -> None:
    replay = filled(3000)
    assert len(replay) == replay.total == 3000
    assert replay.column("state").tolist() == [[i, 0.5] for i in range(3000)]
    assert replay.column("next_state")[:, 0].tolist() == list(range(1, 3001))
    assert replay.column("action").shape == (3000, 1)
    assert replay.column("terminated").tolist() == [i % 4 == 3 for i in range(3000)]
    assert replay.column("truncated").tolist() == [i % 4 == 1 for i in range(3000)]


@pytest.mark.parametrize("at_once", [1, 3, 7, 25])
def test_the_oldest_make_room(at_once: int) -> None:
    replay = Replay(SCHEMA, 10)
    for start in range(0, 25, at_once):
        rows = [row(i) for i in range(start, min(start + at_once, 25))]
        replay.extend({name: torch.cat([each[name] for each in rows]) for name in rows[0]})
    assert (len(replay), replay.total) == (10, 25)
    assert numbers(replay.all()) == list(range(15, 25))


def test_any_row_that_is_held_is_drawn() -> None:
    """By the same draws as always: row k is at place k modulo the capacity."""
    replay = filled(25, capacity=10)
    places = torch.randint(10, (200,), generator=Generator().manual_seed(3))
    drawn = numbers(replay.sample(200, Generator().manual_seed(3)))
    assert drawn == [20 + p if p < 5 else 10 + p for p in places.tolist()]
    assert set(drawn) == set(range(15, 25))


def test_a_column_of_its_own_and_one_that_is_missing() -> None:
    replay = Replay(transitions(2, 1, raw=True))
    replay.extend(row(0) | {"raw_action": tensor([[7.0]])})
    assert replay.sample(3, Generator()).raw_action.tolist() == [[7.0]] * 3
    with pytest.raises(KeyError, match="raw_action"):
        replay.extend(row(1))


@pytest.mark.parametrize(("name", "value"), [("state", [[1.0]]), ("reward", [[1.0]]), ("terminated", [True, False])])
def test_rows_of_another_shape_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^Replay: expected {name} of shape \(1,.*\), got \("):
        filled(3).extend(row(3) | {name: tensor(value)})


# --- episodes ---------------------------------------------------------------------------------------------------------


def described(replay: Replay) -> list[tuple[list[int], bool, bool]]:
    return [(numbers(episode), episode.begins, episode.ends) for episode in replay.episodes()]


def test_whole_episodes_and_the_one_under_way() -> None:
    """They end by termination or by truncation."""
    replay = Replay(SCHEMA)
    assert replay.episodes() == []
    for i in range(8):
        replay.extend(row(i, terminated=i == 2, truncated=i == 5))
    assert described(replay) == [([0, 1, 2], True, True), ([3, 4, 5], True, True), ([6, 7], True, False)]
    assert replay.column("time").tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    first = replay.episodes()[0]
    assert first.length == 3
    assert first.terminated.tolist() == [False, False, True]
    assert first.state.data_ptr() == replay.column("state").data_ptr(), "a view"


def test_episodes_of_several_environments_that_come_in_turn() -> None:
    """Environment 1 skips a step, as after a reset that takes a step of its own."""
    replay, i = Replay(SCHEMA), 0
    for turn in range(5):
        for where in (0, 1):
            if (turn, where) != (3, 1):
                ends = {"terminated": (turn, where) == (2, 1), "truncated": (turn, where) == (3, 0)}
                replay.extend(row(i, where=where, **ends))
                i += 1
    assert described(replay) == [
        ([0, 2, 4, 6], True, True),
        ([1, 3, 5], True, True),
        ([7], True, False),
        ([8], True, False),
    ]


def test_several_rows_at_once_are_an_environments_each() -> None:
    one, two = filled(0), filled(0)
    rows = [row(i, where=i % 2, terminated=i in (4, 5)) for i in range(10)]
    for each in rows:
        one.extend(each)
    two.extend({name: torch.cat([each[name] for each in rows]) for name in rows[0]})
    assert (
        described(one)
        == described(two)
        == [
            ([0, 2, 4], True, True),
            ([1, 3, 5], True, True),
            ([6, 8], True, False),
            ([7, 9], True, False),
        ]
    )


def test_the_ring_cuts_the_oldest_episode_and_wraps_another() -> None:
    """The ring holds the last seven of 13 rows in episodes of five: 6 … 12. Rows 10 … 12 wrap around its end."""
    replay = Replay(SCHEMA, capacity=7)
    for i in range(13):
        replay.extend(row(i, truncated=i % 5 == 4))
    assert described(replay) == [([6, 7, 8, 9], False, True), ([10, 11, 12], True, False)]
    replay.extend(row(13))
    replay.extend(row(14, terminated=True))
    assert described(replay) == [([8, 9], False, True), ([10, 11, 12, 13, 14], True, True)]


def test_the_ring_cuts_the_episodes_of_several_environments() -> None:
    """Environment 0 at even rows, 1 at odd rows; the last seven of 12 rows are stored."""
    replay = Replay(SCHEMA, capacity=7)
    for i in range(12):
        replay.extend(row(i, where=i % 2, truncated=i in (6, 9)))
    cut, under_way = [([5, 7, 9], False, True), ([6], False, True)], [([8, 10], True, False), ([11], True, False)]
    assert described(replay) == cut + under_way


def test_an_episode_that_is_given_up_has_no_end() -> None:
    replay = Replay(SCHEMA)
    for i in range(5):
        if i == 3:
            replay.begin(0)
        replay.extend(row(i))
    assert described(replay) == [([0, 1, 2], True, False), ([3, 4], True, False)]


def test_what_is_dropped_is_gone_and_the_episode_goes_on() -> None:
    replay = Replay(SCHEMA, capacity=4)
    for i in range(5):
        replay.extend(row(i))
    replay.drop()
    assert (len(replay), replay.total, replay.episodes()) == (0, 5, [])
    with pytest.raises(ValueError, match="Replay: expected transitions, found none"):
        replay.sample(1, Generator())
    for i in range(5, 8):
        replay.extend(row(i, terminated=i == 6))
    assert described(replay) == [([5, 6], False, True), ([7], True, False)]
    assert set(numbers(replay.sample(100, Generator()))) == {5, 6, 7}
    for i in range(8, 12):
        replay.extend(row(i))
    assert numbers(replay.all()) == [8, 9, 10, 11]


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropped", [None, 3, 20])
@pytest.mark.parametrize(("count", "capacity"), [(0, 10), (7, 10), (10, 10), (25, 10), (2000, 1500)])
def test_saved_and_gone_on_with(count: int, capacity: int, dropped: int | None) -> None:
    """Also the same draws."""
    replay, other = Replay(SCHEMA, capacity), Replay(SCHEMA, capacity)
    for i in range(count):
        replay.extend(row(i, truncated=i % 4 == 3))
        if i == dropped:
            replay.drop()
    other.load_state_dict(replay.state_dict())
    for buffer in (replay, other):
        buffer.extend(row(count))
    assert other.total == replay.total == count + 1
    draws = [numbers(buffer.sample(50, Generator().manual_seed(1))) for buffer in (replay, other)]
    assert draws[0] == draws[1]
    assert described(other) == described(replay)


def test_rows_that_only_grow() -> None:
    """Every row keeps its number."""
    replay = filled(7, capacity=10)
    for i in range(7, 30):
        rows: Grown = replay.state_dict()["rows"]
        assert rows.first == max(i - 10, 0)
        assert rows.columns["state"][:, 0].tolist() == list(range(rows.first, i))
        replay.extend(row(i))


@pytest.mark.parametrize(
    ("count", "before", "after"), [(25, 10, 20), (25, 20, 10), (25, 10, 30), (7, 10, 5), (7, 5, 10)]
)
def test_gone_on_with_in_a_larger_or_smaller_one(count: int, before: int, after: int) -> None:
    other = Replay(SCHEMA, after)
    other.load_state_dict(filled(count, before).state_dict())
    for i in range(count, count + 33):
        held = min(min(count, before, after) + i - count, after)
        assert len(other) == held
        assert numbers(other.all()) == list(range(i - held, i))
        assert set(numbers(other.sample(300, Generator().manual_seed(0)))) == set(range(i - held, i))
        other.extend(row(i))


def test_columns_of_another_schema_are_refused() -> None:
    with pytest.raises(RuntimeError, match=r"expected columns state, .*raw_action.*, found state, action, "):
        Replay(transitions(2, 1, raw=True)).load_state_dict(filled(3).state_dict())


def test_an_empty_one() -> None:
    with pytest.raises(ValueError, match="Replay: expected transitions, found none"):
        Replay(SCHEMA).column("state")


def test_a_copy_is_written_and_sampled_alone() -> None:
    """Also the arrays through which a few rows are written."""
    rows = {
        "state": np.zeros((2, 1)),
        "action": np.zeros((2, 1)),
        "reward": np.zeros(2),
        "next_state": np.zeros((2, 1)),
    }
    rows |= {"terminated": np.zeros(2, bool), "truncated": np.zeros(2, bool), "where": np.arange(2)}
    first = Replay(transitions(1, 1), capacity=3)
    first.extend(rows)
    other = copy.deepcopy(first)
    other.extend({**rows, "reward": np.ones(2)})
    assert first.column("reward").tolist() == [0, 0]
    assert other.column("reward").tolist() == [0, 1, 1]
    assert 1 in other.sample(50, Generator().manual_seed(0)).reward
    assert 1 not in first.sample(50, Generator().manual_seed(0)).reward


@pytest.mark.parametrize("capacity", [1_000_000, 40])
def test_episodes_are_counted_before_they_are_copied(capacity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three environments in turn, and the rows are dropped once while all of them are in an episode."""
    replay, random = Replay(SCHEMA, capacity), np.random.default_rng(0)
    copied = Mock(side_effect=replay.episodes)
    monkeypatch.setattr(replay, "episodes", copied)
    for i in range(120):
        replay.extend(row(i, terminated=random.random() < 0.1, where=i % 3))
        if i == 20:
            replay.drop()
        copied.reset_mock()
        found = whole(replay, 4)
        expected = [episode for episode in Replay.episodes(replay) if episode.begins and episode.ends]
        assert [numbers(episode) for episode in found] == [numbers(each) for each in expected if len(expected) >= 4]
        assert copied.called == (len(expected) >= 4 or len(replay) == capacity)
