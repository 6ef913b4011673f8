"""Converts checkpoints of other releases step by step to this release's format, or refuses them in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from elites.agents.replay import Grown

FORMAT = 3  # the format of this release
State = dict[str, Any]


def converted(state: State, version: Any, source: str) -> State:
    """The state in this release's format. source: the checkpoint's name for messages."""
    while version != FORMAT:
        if version not in CONVERTERS:
            known = ", ".join(map(str, (*CONVERTERS, FORMAT)))
            raise ValueError(f"{source}: expected a checkpoint of format {known}, got one of format {version}")
        try:
            state, version = CONVERTERS[version](state), version + 1
        except (KeyError, TypeError, AttributeError) as error:
            reason = f"format {version}, which cannot be converted: {type(error).__name__}: {error}"
            raise ValueError(f"{source}: expected a checkpoint of format {FORMAT}, got one of {reason}") from None
    return state


def from_1(state: State) -> State:
    """From format 1: adds no pending action, a seed for every episode, and numbered rows of the replay.

    An agent's other parts stay unchanged. If they do not fit, `elites.runs.train` raises an error.
    """
    if "agent" not in state:  # a user's own checkpoint
        return state
    seeded = torch.ones(len(state["numbers"]), dtype=torch.bool)
    state = state | {"chosen": None, "seeded": seeded, "best": state["best"] or None}
    agent = state["agent"]
    if "replay" in agent:
        columns = agent["replay"]["columns"]
        held = min((len(column) for column in columns.values()), default=0)
        state["agent"] = agent | {"replay": {"rows": Grown(columns, agent["replay"]["total"] - held)}}
    return state


def from_2(state: State) -> State:
    """From format 2, whose models predict targets in their own units: a mean of 0 and units of 1 do the same."""
    agent = state.get("agent")
    if not isinstance(agent, dict) or "model" not in agent:  # an agent without such a model
        return state
    model = agent["model"]
    size = model["min_log_var"].shape[-1]
    units = {"target_mean": torch.zeros(size), "target_std": torch.ones(size), "variance_factor": torch.ones(size)}
    return state | {"agent": agent | {"model": model | units}}


CONVERTERS: dict[Any, Callable[[State], State]] = {1: from_1, 2: from_2}


def settings_converted(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping of a run of another release, in the names of this one."""
    found = dict(mapping)
    agent = found.get("agent")
    if isinstance(agent, Mapping) and "architecture" in agent:
        one, own = agent["architecture"], dict(agent)
        del own["architecture"]
        rates = {f"{of}_optimizer": {"rate": own.pop(old)} for of, old in RATES.items() if old in own}
        if own.get("name") == "sac" and rates:
            own["temperature_rate"] = rates["policy_optimizer"]["rate"]
        found["agent"] = own | {"network": {"name": "plain", "policy": one, "value": one, **rates}}
    return found


RATES = {"policy": "policy_rate", "value": "critic_rate"}  # their names before networks had optimizers
