"""The episodes of a replay, for algorithms that learn from whole ones."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from elites.agents.replay import Episode, Replay


def ended(data: Replay) -> list[Episode]:
    """The episodes that have ended. Raises a ValueError if the buffer is full of one that has not."""
    found = [episode for episode in data.episodes() if episode.ends]
    if not found and len(data) == data.capacity:
        raise ValueError(
            f"the agent: expected episodes that end within its {data.capacity} transitions, got none; "
            "set episode_steps or a larger agent.capacity"
        )
    return found


def whole(data: Replay, count: int) -> list[Episode]:
    """The ended episodes whose beginnings are stored, as soon as there are `count`; before, none."""
    if len(data) < data.capacity and _count_whole(data) < count:
        return []
    found = [episode for episode in ended(data) if episode.begins]
    return found if len(found) >= count else []


def _count_whole(data: Replay) -> int:
    """How many episodes begin and end in the buffer. Counting copies no rows, so every step can ask."""
    if not len(data):
        return 0
    ends = (data.column("terminated") | data.column("truncated")).nonzero().squeeze(1)
    where, begins = data.column("where"), (data.column("time") == 0).nonzero().squeeze(1)
    before = (where[begins] == where[ends].unsqueeze(1)) & (begins <= ends.unsqueeze(1))  # (E, B)
    return int(before.any(1).count_nonzero())


def joined(episodes: Iterable[Episode], *names: str) -> tuple[Tensor, ...]:
    """These columns of all episodes, one after another."""
    return tuple(torch.cat([getattr(episode, name) for episode in episodes]) for name in names)
