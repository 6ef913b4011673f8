"""Tunes a controller by ask and tell: the search proposes gains, an episode tries them, and the loop tells the score.

    python examples/tune.py

The search knows nothing about the cart. A robot, a colleague or a cluster could score the gains instead.
"""

from typing import Any

import gymnasium
import torch

from elites import Box, cli
from elites.planners import CEM


def score(env: gymnasium.Env[Any, Any], gains: torch.Tensor) -> float:
    """Plays an episode with force = gains · (x, θ, ẋ, θ̇). A step scores 1 - θ² - 0.1 x²."""
    (observation, _), total, over = env.reset(seed=0), 0.0, False
    while not over:
        force = (gains.numpy() @ observation).clip(-3, 3)
        observation, reward, terminated, truncated, _ = env.step([force])
        total += float(reward) - observation[1] ** 2 - 0.1 * observation[0] ** 2
        over = terminated or truncated
    return total


def main() -> None:
    env = gymnasium.make("InvertedPendulum-v5")
    gains = Box([-5.0] * 4, [20.0] * 4)
    search = CEM(samples=20, elites=4, iterations=6).begin(gains, rng=torch.Generator().manual_seed(0))
    while not search.done:
        search.tell([score(env, candidate) for candidate in search.ask()])
        print(f"round {search.round}: {search.value.item():7.1f} of 1000 with gains {search.found.numpy().round(1)}")


if __name__ == "__main__":
    cli.run(main)
