"""mbrl-lib's model with given weights, or that of a library which grew from it."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Generator, Tensor

from elites.runs.bench.setting import Setting, State, reward


def mbrl_model(setting: Setting, state: State, silu: dict[str, Any]) -> Any:
    """The ensemble with these weights in its ModelEnv, under TS∞. silu: the options that give it this activation."""
    from mbrl.models import GaussianMLP, ModelEnv, OneDTransitionRewardModel

    size, action, rng = setting.observation, setting.action, Generator(setting.device).manual_seed(0)
    options = {"num_layers": 3, "ensemble_size": setting.members, "propagation_method": "fixed_model", **silu}
    net = GaussianMLP(size + action, size, setting.device, **options)
    for i, layer in enumerate([*(layer[0] for layer in net.hidden_layers), net.mean_and_logvar]):
        layer.weight.data.copy_(state[f"mlp.weights.{i}"])
        layer.bias.data.copy_(state[f"mlp.biases.{i}"])
    net.min_logvar.data.copy_(state["min_log_var"][0])  # its members share them
    net.max_logvar.data.copy_(state["max_log_var"][0])
    net.requires_grad_(False)

    def rewarded(action: Tensor, next_state: Tensor) -> Tensor:
        return reward(next_state, action, next_state).unsqueeze(1)

    def never(action: Tensor, next_state: Tensor) -> Tensor:
        return torch.zeros(len(next_state), 1, dtype=torch.bool, device=next_state.device)

    spaces = argparse.Namespace(observation_space=None, action_space=argparse.Namespace(shape=(action,)))
    return ModelEnv(spaces, OneDTransitionRewardModel(net, learned_rewards=False), never, rewarded, rng)
