"""Makes the checkpoints that every later release must load and resume. Run it once, when the format changes.

    python tests/data/make_checkpoints.py

It replaces tests/data/checkpoint-format-NUMBER-KIND: runs of the smallest agents, stopped halfway.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from elites.agents import TD3
from elites.dynamics import EnsembleConfig, Training
from elites.networks import Architecture
from elites.planners import CEM
from elites.runs import LearnSettings, Observer, PETSSettings, RunSettings, train
from elites.runs.conversion import FORMAT

HERE = Path(__file__).parent
SETTINGS: dict[str, RunSettings] = {
    "td3": LearnSettings(
        env="Pendulum-v1",
        episode_steps=20,
        agent=TD3(architecture=Architecture((4, 4)), batch=4),
        random_steps=10,
        steps=100,
        evaluate_every=50,
        evaluation_episodes=2,
        num_envs=2,
    ),
    "pets": PETSSettings(
        planner=CEM(samples=6, elites=2, iterations=2),
        horizon=3,
        model=EnsembleConfig(members=2, architecture=Architecture((4,), "silu", normalise_inputs=True)),
        training=Training(epochs=2),
        env="elites/CartpoleSwingup-v0",
        random_episodes=1,
        episodes=3,
        episode_steps=10,
    ),
}


class Half(Observer):
    """Stops a run halfway, in the middle of an episode."""

    rows = 0

    def row(self, row: object) -> None:
        self.rows += 1

    def stop(self) -> bool:
        return self.rows > 1


def main() -> None:
    for kind, settings in SETTINGS.items():
        folder = HERE / f"checkpoint-format-{FORMAT}-{kind}"
        shutil.rmtree(folder, ignore_errors=True)
        half = Half()
        train(settings, folder, observers=[half], stop=half.stop)


if __name__ == "__main__":
    main()
