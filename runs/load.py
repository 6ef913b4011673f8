"""The agent of a run, as it was last saved."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from elites.agents.learner import Learner
from elites.agents.pets import PETS
from elites.runs import checkpoint, kinds
from elites.runs.pets import PETSSettings


def load(folder: Path | str, say: Callable[[str], None] = warnings.warn, device: torch.device | str = "cpu") -> Learner:
    """What a run has learned so far, ready for a new episode: `agent.act(observation, explore=False)`.

    say: hears of checkpoints that are damaged, where an older one has to do.
    """
    settings, saved = kinds.settings_of(Path(folder)), Path(folder) / "checkpoints"
    if not checkpoint.written(saved):
        raise ValueError(f"{folder}: expected a run that has learned something, found no checkpoint")
    agent, state = settings.make_agent(settings.make_environment(), device), checkpoint.newest(saved, say)
    agent.load_state_dict(state["agent"] | {"rng": agent.rng.get_state()})  # its own may be another device's
    agent.begin(np.ones(len(state["numbers"]), dtype=bool))
    return agent


def load_pets(folder: Path, say: Callable[[str], None] = warnings.warn) -> tuple[PETS, PETSSettings]:
    """The agent of a run of PETS, and the run's settings; other runs are refused."""
    settings = kinds.settings_of(folder)
    if not isinstance(settings, PETSSettings):
        kind = kinds.name_of(type(settings))
        raise ValueError(f"{folder}: expected a run of `elites pets`, got one of `elites {kind}`")
    agent = load(folder, say)
    assert isinstance(agent, PETS)
    return agent, settings
