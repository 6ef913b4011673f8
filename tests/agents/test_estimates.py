"""TD(λ), Retrace and n steps, by hand, and the segments of episodes that they read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import tensor

from elites.agents import Replay
from elites.agents.estimates import lambda_returns, retrace
from elites.agents.replay import Episode, Segments, transitions
from tests.agents.small import rng


def episode(reward: list[float], terminated: bool) -> Episode:
    count = len(reward)
    ends = torch.zeros(count, dtype=torch.bool)
    ends[-1] = True
    columns = {"reward": tensor(reward).double(), "terminated": ends & terminated, "truncated": ends & (not terminated)}
    return Episode(columns, True, True)


@pytest.mark.parametrize("terminated", [True, False])
@pytest.mark.parametrize("trace", [0.0, 0.5, 1.0])
def test_lambda_returns_by_hand(trace: float, terminated: bool) -> None:
    """Rewards 1 and 2, V(s₁) = 3, V(s₂) = 4, γ = 0.9."""
    last = 2 + 0.9 * (0 if terminated else 4)
    first = 1 + 0.9 * ((1 - trace) * 3 + trace * last)
    found = lambda_returns(episode([1.0, 2.0], terminated), tensor([3.0, 4.0]).double(), 0.9, trace)
    assert found.tolist() == pytest.approx([first, last])


def stretch(within: list[list[bool]], terminated: list[list[bool]]) -> Segments:
    """Rewards 1, 2 and 4."""
    reward = tensor([1.0, 2.0, 4.0]).double().expand(len(within), 3)
    state = torch.arange(3 * len(within)).view(-1, 3, 1).double()
    columns = {"reward": reward, "terminated": tensor(terminated), "truncated": tensor(terminated) & False}
    return Segments({**columns, "state": state, "next_state": state + 1}, tensor(within))


def test_retrace_by_hand() -> None:
    """G₂ = 4 + 0.9 V₃; Gₜ = rₜ + 0.9 (Vₜ₊₁ + λ min(1, ratio) (Gₜ₊₁ - Qₜ₊₁)). The second row ends after two steps."""
    some = stretch([[True] * 3, [True, True, False]], [[False] * 3, [False, True, True]])
    q, value = tensor([[0.0, 5.0, 6.0]] * 2).double(), tensor([[7.0, 8.0, 9.0]] * 2).double()
    ratio = tensor([[9.0, 0.5, 2.0]] * 2).double()
    last = 4 + 0.9 * 9
    middle = 2 + 0.9 * (8 + 0.8 * (last - 6))
    first = 1 + 0.9 * (7 + 0.8 * 0.5 * (middle - 5))
    ended = 1 + 0.9 * (7 + 0.8 * 0.5 * (2 - 5))
    assert retrace(some, q, value, ratio, 0.9, 0.8).tolist() == pytest.approx([first, ended])
    assert retrace(some, q, value, ratio, 0.9, 0.0).tolist() == pytest.approx([1 + 0.9 * 7] * 2)


def test_n_steps_ahead_by_hand() -> None:
    some = stretch([[True] * 3, [True, True, False]], [[False] * 3, [False, True, True]]).ahead(0.5)
    assert some.reward.tolist() == [1 + 1 + 1, 1 + 1]
    assert some.discount.tolist() == [0.125, 0.25]
    assert some.terminated.tolist() == [False, True]
    assert some.state.flatten().tolist() == [0, 3]
    assert some.next_state.flatten().tolist() == [3, 5]


@pytest.mark.parametrize("environments", [1, 3])
@pytest.mark.parametrize("capacity", [25, 1000])
def test_segments_follow_their_episodes(environments: int, capacity: int) -> None:
    """Also across the ring's wrap. A state holds environment, episode and step; episodes have four steps, or three."""
    replay, count = Replay(transitions(3, 1), capacity), np.zeros((environments, 2), dtype=int)
    for _ in range(40):
        where = np.arange(environments)
        state = np.column_stack([where, count])
        ended = count[:, 1] == 3 - where % 2
        rows: dict[str, Any] = {"state": state, "next_state": state + np.array([0, 0, 1]), "action": state[:, :1] * 0.0}
        none = np.zeros(environments, dtype=bool)
        replay.extend({**rows, "reward": where * 1.0, "terminated": none, "truncated": ended, "where": where})
        count[:, 1] += 1
        count[ended] = np.column_stack([count[ended, 0] + 1, count[ended, 1] * 0])
    some = replay.segments(500, 5, rng())
    columns = (some.state.tolist(), some.within.tolist(), some.truncated.tolist())
    for state, within, truncated in zip(*columns, strict=True):
        held = [step for step, there in zip(state, within, strict=True) if there]
        where, number, first = held[0]
        assert held == [[where, number, first + i] for i in range(len(held))]
        newest = held[-1] in replay.column("state")[-environments:].tolist()
        assert truncated[len(held) - 1] or newest, "it is cut only where the episode or the data ends"
    assert {len([w for w in within if w]) for within in some.within.tolist()} == {1, 2, 3, 4}
