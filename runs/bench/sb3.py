"""Agents of Stable-Baselines3 to compare with ours: its TD3, SAC and PPO, sb3-contrib's TRPO, and SBX's, in JAX."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from elites.agents import PPO, SAC, TD3, TRPO, Learner

LIBRARIES = {"sb3": "stable_baselines3", "sbx": "sbx"}
OFF_POLICY, ON_POLICY = ("td3", "sac"), ("ppo", "trpo")


def model_for(
    agent: str, env: Any, seed: int, random_steps: int, library: str = "sb3", batch: int | None = None
) -> Any:
    """Their agent, with our settings except those of the implementation. batch: None takes ours."""
    try:
        theirs: Any = importlib.import_module("sb3_contrib" if agent == "trpo" else LIBRARIES[library])
        from stable_baselines3.common.noise import NormalActionNoise
    except ImportError as error:
        raise ValueError(f"{error}; make .venv-mbrl/peers installs it into .venv-mbrl") from None
    if agent in ON_POLICY:
        return _on_policy(theirs, agent, env, seed)
    ours = TD3() if agent == "td3" else SAC()
    options: dict[str, Any] = {
        "batch_size": batch or ours.batch,
        "learning_rate": ours.network.policy_optimizer.rate,
        "tau": ours.tau,
        "gamma": ours.discount,
        "learning_starts": random_steps,
        "policy_kwargs": {"net_arch": list(ours.network.policy.hidden), "n_critics": ours.critics},
    }
    if isinstance(ours, TD3):
        size = env.action_space.shape[0]
        options["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, ours.exploration_noise))
        options |= {"target_policy_noise": ours.policy_noise, "target_noise_clip": ours.noise_clip}
    if library == "sbx":
        options["qf_learning_rate"] = ours.network.value_optimizer.rate
    if library == "sbx" or isinstance(ours, TD3):
        options["policy_delay"] = ours.policy_every
    return getattr(theirs, agent.upper())("MlpPolicy", env, seed=seed, device="cpu", **options)


def _on_policy(theirs: Any, agent: str, env: Any, seed: int) -> Any:
    """Their KL divergence is the mean over an action's dimensions, and ours the sum."""
    ours = PPO() if agent == "ppo" else TRPO()
    options: dict[str, Any] = {"n_steps": ours.pace.every, "batch_size": ours.batch, "gamma": ours.discount}
    options |= {"gae_lambda": ours.trace, "learning_rate": ours.network.value_optimizer.rate}
    options |= {"policy_kwargs": {"net_arch": list(ours.network.policy.hidden)}}
    if isinstance(ours, PPO):
        options |= {"n_epochs": ours.epochs, "clip_range": ours.clip_range}
        return theirs.PPO("MlpPolicy", env, seed=seed, device="cpu", **options)
    size = env.action_space.shape[0]
    options |= {"target_kl": ours.kl / size, "cg_damping": ours.damping / size, "n_critic_updates": ours.value_epochs}
    return theirs.TRPO("MlpPolicy", env, seed=seed, device="cpu", **options)


class Theirs(Learner):
    """Their agent as a `Learner`, with the methods that an evaluation needs."""

    def __init__(self, model: Any) -> None:
        self.model, self.rng = model, torch.Generator()

    def act(self, observation: Any, explore: bool = True) -> Any:
        return self.model.predict(observation, deterministic=not explore)[0]

    def act_at_random(self, count: int) -> Any:
        raise NotImplementedError

    def observe(self, step: Any) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    def load_state_dict(self, state: Any) -> None:
        raise NotImplementedError
