"""Stable-Baselines3's agents in our loop and in their own loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from elites.agents import Transition
from elites.runs import Loop, RunFolder, Steps
from elites.runs.bench.sb3 import Theirs, model_for
from elites.runs.environments import episode_seed

RANDOM, STEPS = 250, 650


class Seeded(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Episodes begin as in our loop."""

    begun = 0

    def reset(self, **options: Any) -> Any:
        self.begun += 1
        return self.env.reset(seed=episode_seed(0, self.begun - 1))


class InOurLoop(Theirs):
    """Their agent's methods, called by our loop."""

    def sampled(self, observation: Any, random_steps: int) -> Any:
        self.model._last_obs = observation
        action, self.stored = self.model._sample_action(random_steps, self.model.action_noise)
        return action

    def act(self, observation: Any, explore: bool = True) -> Any:
        return self.sampled(observation, 0)

    def act_at_random(self, count: int) -> Any:
        return self.sampled(None, RANDOM)

    def observe(self, step: Transition) -> None:
        row = (step.observation, step.next_observation, self.stored, step.reward, step.terminated)
        self.model.replay_buffer.add(*row, [{}])

    def improve(self, steps: int) -> None:
        self.model.train(gradient_steps=steps, batch_size=self.model.batch_size)

    def state_dict(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("agent", ["td3", "sac"])
@pytest.mark.parametrize("name", ["Pendulum-v1", "InvertedPendulum-v5"])  # truncated, and terminated
def test_our_loop_is_theirs(name: str, agent: str, tmp_path: Path) -> None:
    """The same random numbers give the same weights, bit for bit."""
    models = []
    for ours in (False, True):
        env = Seeded(gymnasium.make(name))
        model = model_for(agent, env, seed=0, random_steps=RANDOM)
        if ours:
            model._setup_learn(0)
            loop = InOurLoop(model), gymnasium.make(name), RunFolder.begin(tmp_path / "run", {})
            Loop(*loop, Steps(random_steps=RANDOM, steps=STEPS), seed=0)()
        else:
            model.learn(STEPS)
            assert env.begun >= STEPS // 200 + 1
        assert model._n_updates == STEPS - RANDOM
        models.append(model)
    for one, other in zip(*(model.policy.parameters() for model in models), strict=True):
        assert torch.equal(one, other)
    rewards = [model.replay_buffer.rewards[:STEPS] for model in models]
    assert np.array_equal(*rewards)
