"""This library's planners, in torch and by the compiled rollout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from elites import Box, config
from elites.agents import MPC
from elites.dynamics import Return
from elites.planners import PLANNERS, Planner
from elites.runs.bench.setting import Contender, Planning, Setting, State, Work, ensemble, reward

PLANS: dict[str, tuple[int, dict[str, Any]]] = {  # candidates of the CEM to compare with, and the planner
    "cem 50": (50, {"name": "cem", "samples": 10, "iterations": 5, "elites": 1}),
    "cem_gd": (50, {"name": "cem_gd"}),  # N_r = 50; N_init is used before the clock starts
    "cem 500": (500, {"name": "cem", "samples": 100, "iterations": 5, "elites": 10}),
    **{name: (500, {"name": name}) for name in PLANNERS if name not in ("cem", "cem_gd")},
    "cem 15000": (15000, {"name": "cem", "samples": 3000, "iterations": 5, "elites": 300}),
    "cem_gd cold": (15000, {"name": "cem_gd", "cold": {"samples": 3000, "iterations": 5, "elites": 300}}),
}
LONG = ("cem 15000", "cem_gd cold")
VARIANTS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {  # environment variables, and entries of `model`
    "torch": ({"ELITES_NATIVE": "0"}, {}),
    "kernel": ({"ELITES_NATIVE": "1"}, {}),
    "kernel-bfloat16x3": ({"ELITES_NATIVE": "1"}, {"sampling": "bfloat16x3"}),
    "kernel-bfloat16": ({"ELITES_NATIVE": "1"}, {"sampling": "bfloat16"}),
    "kernel-float16": ({"ELITES_NATIVE": "1"}, {"sampling": "float16"}),
}


def ours(contender: Contender, setting: Setting, state: State) -> Planning:
    work, model = Work(), ensemble(setting, state, **VARIANTS[contender.by][1])
    particles = math.ceil(setting.particles / setting.members) * setting.members  # as the ensemble rounds them

    class Counted(Return):
        def at(self, state: Tensor, rng: Generator) -> Callable[[Tensor], Tensor]:
            objective: Any = super().at(state, rng)

            def counted(score: Callable[[Tensor], Tensor]) -> Any:
                def scored(actions: Tensor) -> Tensor:
                    work[actions.shape[:-2].numel() * particles, actions.requires_grad] += 1
                    return score(actions)

                return scored

            both = counted(objective)
            both.rough = counted(objective.rough)
            return both  # type: ignore[no-any-return]

    planner = config.build(Planner, PLANS[contender.planner][1], contender.planner)  # type: ignore[type-abstract]
    returns = Counted(model, reward, particles=setting.particles, noise=contender.noise)  # type: ignore[arg-type]
    one = torch.ones(setting.action)
    mpc = MPC(planner, setting.horizon, returns, Box(-one, one), seed=0, device=setting.device)

    def plan(observation: Tensor) -> Work:
        work.clear()
        if contender.planner == "cem_gd cold":
            mpc.reset()
        mpc(observation)
        if (model.engine == "torch") != (contender.by == "torch"):
            raise RuntimeError(f"expected the plan of {contender.by}, got {model.engine}'s")
        return work

    return plan
