"""The film of a few episodes: those that were asked for, each as far as it went."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from elites.agents import TD3
from elites.dynamics import Training
from elites.planners import RandomShooting
from elites.runs import LearnSettings, PETSSettings, train


def test_a_film_of_a_run(
    film: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "film.gif"
    settings = PETSSettings(
        env="elites/CartpoleSwingup-v0",
        planner=RandomShooting(samples=2),
        training=Training(epochs=1),
        episode_steps=4,
        random_episodes=1,
        episodes=1,
    )
    train(settings, run)
    monkeypatch.setattr(sys, "argv", ["film.py", str(run), "--episodes", "1", "2", "2", "--out", str(out)])
    film.main()
    with Image.open(out) as picture:
        assert (picture.n_frames, picture.size) == (4, (3 * film.WIDTH, film.HEIGHT + film.CAPTION))
    assert f"{out}: " in capsys.readouterr().out
    with pytest.raises(ValueError, match="--episodes 3: expected a number from 1 to 2"):
        film.episodes_of(run, [1, 3])


def test_only_pets_can_be_filmed(film: ModuleType, tmp_path: Path) -> None:
    settings = LearnSettings(env="Pendulum-v1", agent=TD3(), random_steps=2, steps=4, evaluation_episodes=0)
    train(settings, tmp_path / "run")
    with pytest.raises(ValueError, match="expected a run of `elites pets`"):
        film.episodes_of(tmp_path / "run", [1])
