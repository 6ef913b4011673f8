"""Loads the last saved agent of a run."""

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
    """The agent of a run, ready for a new episode: `agent.act(observation, explore=False)`.

    say: is told of damaged checkpoints, in place of which an older one is loaded.
    """
    settings, saved = kinds.settings_of(Path(folder)), Path(folder) / "checkpoints"
    if not checkpoint.written(saved):
        raise ValueError(f"{folder}: expected a run with a checkpoint, found none")
    agent, state = settings.make_agent(settings.make_environment(), device), checkpoint.newest(saved, say)
    agent.load_state_dict(state["agent"] | {"rng": agent.rng.get_state()})  # the saved one can be of another device
    agent.begin(np.ones(len(state.get("numbers", [0])), dtype=bool))
    return agent


def load_pets(folder: Path, say: Callable[[str], None] = warnings.warn) -> tuple[PETS, PETSSettings]:
    """The agent and the settings of a PETS run. Raises a ValueError for other runs."""
    settings = kinds.settings_of(folder)
    if not isinstance(settings, PETSSettings):
        kind = kinds.name_of(type(settings))
        raise ValueError(f"{folder}: expected a run of `elites pets`, got one of `elites {kind}`")
    agent = load(folder, say)
    assert isinstance(agent, PETS)
    return agent, settings
