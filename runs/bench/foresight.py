"""The error of a model on held-out episodes: for one step, and open loop with the episode's actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from elites.dynamics import ProbabilisticEnsemble
from elites.dynamics.ensemble import STILL
from elites.dynamics.training import held_out_figures
from elites.runs.bench.transitions import DataSet, Episode

PARTICLES = 20  # in an open loop


@dataclass(frozen=True)
class Foresight:
    """For one step, the figures of `Fit`. For an open loop, the error of the particles' mean after 20 and 45 steps."""

    rmse: float  # in units of the targets' spread in training
    nll: float  # in nats per entry
    coverage_50: float
    coverage_90: float
    open_20: float  # RMSE in units of each entry's spread in training; NaN if no episode is as long
    open_45: float
    speed_45: float  # mean error of the first entry over its mean size


def foresight(model: ProbabilisticEnsemble, data: DataSet) -> Foresight:
    spread = _units(model.targets(data.training.state, data.training.next_state))
    state, action, following = (torch.cat(rows) for rows in zip(*map(_columns, data.held_out), strict=True))
    one_step = held_out_figures(model, state, action, model.targets(state, following), spread)
    units = _units(data.training.next_state)
    (error_20, _), (error_45, truth) = (_open_loop(model, data.held_out, steps) for steps in (20, 45))
    open_20, open_45 = ((error / units).square().mean().sqrt().item() for error in (error_20, error_45))
    speed = (error_45[:, 0].abs().mean() / truth[:, 0].abs().mean()).item()
    return Foresight(*one_step, open_20, open_45, speed)


def _open_loop(model: ProbabilisticEnsemble, episodes: Sequence[Episode], steps: int) -> tuple[Tensor, Tensor]:
    """Starts at every `steps`-th state: the error of the particles' mean after `steps` steps, and the truth (B, S)."""
    starts = [(episode, t) for episode in episodes for t in range(0, len(episode.state) - steps + 1, steps)]
    if not starts:
        empty = torch.empty(0, model.state_size)
        return empty, empty
    first = torch.stack([episode.state[t] for episode, t in starts])
    actions = torch.stack([episode.action[t : t + steps] for episode, t in starts]).unsqueeze(1)
    truth = torch.stack([episode.next_state[t + steps - 1] for episode, t in starts])
    noise = model.draw(PARTICLES, steps, Generator().manual_seed(0))
    with torch.no_grad():
        foreseen = model.rollout(first, actions, noise)[:, 0, :, -1].mean(1)
    error = foreseen - truth
    error[:, model.angles] = torch.atan2(error[:, model.angles].sin(), error[:, model.angles].cos())
    return error, truth


def _columns(episode: Episode) -> tuple[Tensor, Tensor, Tensor]:
    return episode.state, episode.action, episode.next_state


def _units(entries: Tensor) -> Tensor:
    """The spread (S,) of each entry of (n, S)."""
    spread = entries.std(0, correction=0)
    return torch.where(spread < STILL, 1.0, spread)
