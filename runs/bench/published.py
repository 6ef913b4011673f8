"""CEM-GD's published code over the same weights, from a checkout of its repository."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import torch
from torch import Generator, Tensor

from elites.runs.bench.setting import Contender, Planning, Setting, State, Work, reward

CHECKOUT = Path("build/CEM-GD").absolute()
CLONE = "git clone https://github.com/KevinHuang8/CEM-GD build/CEM-GD"
SAMPLES, ITERATIONS = 10, 5  # N_r = 50


def _importable() -> None:
    """Its package imports Gym, and a file that is not in its repository."""
    missing: Any = ModuleType("mbrl.planning.trajectory_opt2")
    missing.CEMOptimizer = None
    sys.modules.update({"gym": gymnasium, missing.__name__: missing})


def _world(setting: Setting, state: State) -> Any:
    """Its ensemble with these weights, in its ModelEnv. TS∞."""
    from mbrl.models import GaussianMLP, ModelEnv, OneDTransitionRewardModel

    size, action = setting.observation, setting.action
    options = {"num_layers": 3, "ensemble_size": setting.members, "use_silu": True}
    net = GaussianMLP(size + action, size, setting.device, propagation_method="fixed_model", **options)
    for i, layer in enumerate([*(layer[0] for layer in net.hidden_layers), net.mean_and_logvar]):
        layer.weight.data.copy_(state[f"mlp.weights.{i}"])
        layer.bias.data.copy_(state[f"mlp.biases.{i}"])
    net.min_logvar.data.copy_(state["min_log_var"][0])  # its members share them
    net.max_logvar.data.copy_(state["max_log_var"][0])
    net.requires_grad_(False)

    def rewarded(action: Tensor, next_state: Tensor) -> Tensor:
        return reward(next_state, action, next_state).unsqueeze(1)

    def never(action: Tensor, next_state: Tensor) -> Tensor:
        return torch.zeros(len(next_state), 1, dtype=torch.bool)

    spaces = argparse.Namespace(observation_space=None, action_space=argparse.Namespace(shape=(action,)))
    rng, model = Generator(setting.device).manual_seed(0), OneDTransitionRewardModel(net, learned_rewards=False)
    return ModelEnv(spaces, model, never, rewarded, rng)


def published(contender: Contender, setting: Setting, state: State) -> Planning:
    """Its GradientOptimizer after the first plan: 50 samples, and an ascent of one sequence on the members' means."""
    _importable()
    from mbrl.planning.gradient_optimizer import TrajectoryOptimizer
    from omegaconf import OmegaConf

    world, work = _world(setting, state), Work()
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
