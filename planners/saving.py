"""Plans to and from the form that a checkpoint stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elites import config
from elites.planners.distributions import Distribution
from elites.planners.plan import Plan, like_state
from elites.spaces import Space

TENSORS = ("best", "value", "elites", "ok")


def saved(plan: Plan) -> dict[str, Any]:
    """A plan as tensors and JSON values."""
    found: dict[str, Any] = {name: getattr(plan, name) for name in (*TENSORS, "evaluations")}
    by = None if plan.by is None else config.dump(plan.by, Distribution)
    return found | {"by": by, "state": None if plan.state is None else list(plan.state), "gradient": plan.gradient}


def loaded(found: Mapping[str, Any], space: Space) -> Plan:
    """The plan (B, …) that `saved` gave."""
    tensors = {name: found[name].to(space.device) for name in TENSORS}
    by, state = None, None
    if found["by"] is not None:
        by = config.build(Distribution, found["by"], "checkpoint")  # type: ignore[type-abstract]  # from the registry
        kind = by.begin(space, tuple(tensors["value"].shape), 1.0)
        state = like_state(kind, [x.to(space.device) for x in found["state"]])
    gradient = found.get("gradient", False)  # older checkpoints do not have it
    return Plan(**tensors, evaluations=found["evaluations"], by=by, state=state, gradient=gradient)
