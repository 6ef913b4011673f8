"""CEM-GD's published code over the same weights, from a checkout of its repository."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
from torch import Tensor

from elites.runs.bench.mbrl import mbrl_model
from elites.runs.bench.setting import Contender, Planning, Setting, State, Work

CHECKOUT = Path("build/CEM-GD").absolute()
CLONE = "git clone https://github.com/KevinHuang8/CEM-GD build/CEM-GD"
SAMPLES, ITERATIONS = 10, 5  # N_r = 50


def _importable() -> None:
    """Its package imports Gym, and a file that is not in its repository."""
    missing: Any = ModuleType("mbrl.planning.trajectory_opt2")
    missing.CEMOptimizer = None
    sys.modules.update({"gym": gymnasium, missing.__name__: missing})


def published(contender: Contender, setting: Setting, state: State) -> Planning:
    """Its GradientOptimizer after the first plan: 50 samples, and an ascent of one sequence on the members' means."""
    _importable()
    from mbrl.planning.gradient_optimizer import TrajectoryOptimizer
    from omegaconf import OmegaConf

    world, work = mbrl_model(setting, state, {"use_silu": True}), Work()
    settings: dict[str, Any] = {"_target_": "mbrl.planning.gradient_optimizer.GradientOptimizer"}
    settings |= {"num_iterations": ITERATIONS, "population_size": SAMPLES, "elite_ratio": 1 / SAMPLES, "alpha": 0.1}
    settings |= {"num_top": 1, "resample_amount": 1, "device": setting.device}
    settings |= {"lower_bound": None, "upper_bound": None}  # the optimizer fills them in
    low, high = [-1.0] * setting.action, [1.0] * setting.action
    optimizer = TrajectoryOptimizer(OmegaConf.create(settings), low, high, setting.horizon)

    def plan(observation: Tensor) -> Work:
        seen = observation.cpu().numpy()
        work.clear()

        def gain(actions: Tensor, sample: bool = True) -> Any:
            work[len(actions) * setting.particles, False] += 1
            return world.evaluate_action_sequences(actions, seen, setting.particles, sample)

        def cost(actions: Tensor, use_grad: bool = False) -> Any:
            work[len(actions) * setting.members, use_grad] += 1
            return world.compute_objective(seen, actions, setting.members, use_grad)

        optimizer.optimize(gain, cost, trial_step=1)
        return work

    return plan
