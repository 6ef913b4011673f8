"""This library's planners, in torch and by the compiled rollout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from elites import Box, config
from elites.agents import MPC
from elites.agents.graphed import WARM_UP
from elites.dynamics import Return
from elites.planners import PLANNERS, Planner
from elites.runs.bench.setting import Contender, Planning, Setting, State, Work, ensemble, reward
from elites.runs.pets import CONFIGS

FAST = config.load(CONFIGS / "fast.yaml")


class Row(NamedTuple):
    """A row of the tables."""

    budget: int  # candidates of the CEM to compare with
    planner: dict[str, Any]
    gradient: str = "particles"  # or `means`: ascents follow the members' means, as in the published code of CEM-GD
    particles: int | None = None  # None is the setting's


PLANS: dict[str, Row] = {
    "cem 50": Row(50, {"name": "cem", "samples": 10, "iterations": 5, "elites": 1}),
    "cem_gd": Row(50, {"name": "cem_gd"}),  # N_r = 50; N_init is used before the clock starts
    "cem_gd means": Row(50, {"name": "cem_gd"}, "means"),
    "cem 500": Row(500, {"name": "cem", "samples": 100, "iterations": 5, "elites": 10}),
    "fast": Row(500, FAST["planner"], FAST["gradient"], FAST["particles"]),
    **{name: Row(500, {"name": name}) for name in PLANNERS if name not in ("cem", "cem_gd")},
    "cem 15000": Row(15000, {"name": "cem", "samples": 3000, "iterations": 5, "elites": 300}),
    "cem_gd cold": Row(15000, {"name": "cem_gd", "cold": {"samples": 3000, "iterations": 5, "elites": 300}}),
}
LONG = ("cem 15000", "cem_gd cold")
GROUPS = list(dict.fromkeys(name.split()[0] for name in PLANS))  # what --planner asks for


class Variant(NamedTuple):
    """A way to compute this library's plans."""

    engine: str  # the engine that it must use
    sampling: str = "float32"
    device: str | None = None  # the only kind of device for it
    graphs: bool = False

    @property
    def environment(self) -> dict[str, str]:
        return {"ELITES_NATIVE": "1" if self.engine == "kernel" else "0"}


VARIANTS = {
    "torch": Variant("torch"),
    "kernel": Variant("kernel", device="cpu"),
    "kernel-bfloat16x3": Variant("kernel", "bfloat16x3", "cpu"),
    "kernel-bfloat16": Variant("kernel", "bfloat16", "cpu"),
    "kernel-float16": Variant("kernel", "float16", "cpu"),
    "graphs": Variant("torch", device="cuda", graphs=True),
    "fused": Variant("cuda", "bfloat16", "cuda", graphs=True),
}


def ours(contender: Contender, setting: Setting, state: State) -> Planning:
    variant, work, engines = VARIANTS[contender.by], Work(), set[str | None]()
    row = PLANS[contender.planner]
    model = ensemble(setting, state, sampling=variant.sampling)
    particles = row.particles or setting.particles
    rows = math.ceil(particles / setting.members) * setting.members  # of a candidate, as the ensemble rounds them
    exact = setting.members if row.gradient == "means" else rows  # those whose gradient counts

    class Counted(Return):
        def at(self, state: Tensor, rng: Generator) -> Callable[[Tensor], Tensor]:
            objective: Any = super().at(state, rng)

            def counted(score: Callable[[Tensor], Tensor], rows: int) -> Any:
                def scored(actions: Tensor) -> Tensor:
                    number = actions.shape[:-2].numel() * rows
                    work[number, False] += 1
                    if actions.requires_grad:  # counts as a gradient once somebody asks for it
                        asked: Any = actions
                        asked.register_hook(lambda _: work.update({(number, False): -1, (number, True): 1}))
                    values = score(actions)
                    engines.add(model.engine)
                    return values

                return scored

            both = counted(objective, exact)
            both.rough = counted(objective.rough, rows)
            return both  # type: ignore[no-any-return]

    planner = config.build(Planner, row.planner, contender.planner)  # type: ignore[type-abstract]
    options: dict[str, Any] = {"particles": particles, "noise": contender.noise, "gradient": row.gradient}
    returns = Counted(model, reward, **options)
    one = torch.ones(setting.action)
    mpc = MPC(planner, setting.horizon, returns, Box(-one, one), seed=0, device=setting.device, graphs=variant.graphs)
    known = Work()

    def plan(observation: Tensor) -> Work:
        work.clear()
        if contender.planner == "cem_gd cold":
            mpc.reset()
        mpc(observation)
        if variant.engine not in engines or (variant.engine == "torch" and len(engines) > 1):
            raise RuntimeError(f"expected the plan of {contender.by}, got {', '.join(map(str, engines))}'s")
        if mpc.refuses_graphs:
            raise RuntimeError("expected plans with graphs, got plans without")
        if work:  # a graph counts its work when it is recorded, after the runs that warm up
            runs = 1 + WARM_UP if variant.graphs else 1
            known.clear()
            known.update({key: count // runs for key, count in (+work).items()})
        return known

    return plan
