"""`elites play`: a run's evaluations again, other episodes, and a film of the best."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import elites
from elites import cli
from elites.agents import CGP, TD3, Network
from elites.dynamics import EnsembleConfig, Training
from elites.networks.architecture import Architecture
from elites.planners import CEM
from elites.runs import LearnSettings, PETSSettings, episode_seed, train
from elites.runs.commands.play import main

Played = Callable[..., tuple[str, str]]
LEARN = LearnSettings(
    env="Pendulum-v1",
    agent=TD3(network=Network.of(Architecture((8, 8))), batch=8),
    episode_steps=25,
    random_steps=30,
    steps=60,
    evaluate_every=30,
    evaluation_episodes=3,
)
PLAN = PETSSettings(
    env="elites/CartpoleSwingup-v0",
    planner=CEM(samples=8, elites=2, iterations=2),
    horizon=4,
    model=EnsembleConfig(architecture=Architecture((8,), "silu")),
    training=Training(epochs=2),
    episode_steps=10,
    random_episodes=1,
    episodes=1,
)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "learned"
    train(LEARN, folder)
    return folder


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "planned"
    train(PLAN, folder)
    return folder


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Played:
    """Runs the command in an empty folder, which stays empty."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def run(*arguments: Any) -> tuple[str, str]:
        main(list(map(str, arguments)), "elites play")
        assert list(Path().iterdir()) == []
        return capsys.readouterr()

    return run


def by_hand(folder: Path, seed: int, env: str = "Pendulum-v1") -> float:
    agent = elites.load(folder)
    world = gymnasium.make(env, max_episode_steps=25)
    observation, _ = world.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        observation, reward, terminated, truncated, _ = world.step(agent.act(observation, explore=False))
        total, ended = total + float(reward), terminated or truncated
    return total


def test_the_last_evaluation_is_played_again(play: Played, learned: Path) -> None:
    """Bit for bit: the same episodes, equally many at once."""
    summary = json.loads((learned / "summary.json").read_text())
    found = json.loads(play(learned, "--episodes", 3, "--json")[0])
    assert found["mean"] == summary["final_evaluation_mean"]
    assert found["std"] == summary["final_evaluation_std"]
    assert (found["env"], found["lengths"], found["video"]) == ("Pendulum-v1", [25] * 3, None)
    assert found["mean"] == np.mean(found["returns"])


def test_a_line_an_episode_and_their_mean(play: Played, learned: Path) -> None:
    out, err = play(learned, "--episodes", 2)
    found = json.loads(play(learned, "--episodes", 2, "--json")[0])
    first, second = found["returns"]
    assert out.splitlines() == [
        f"episode   1/2     25 steps  return {first:9.2f}",
        f"episode   2/2     25 steps  return {second:9.2f}",
        f"mean {(first + second) / 2:.2f} ± {abs(first - second) / 2:.2f}",
    ]
    assert err == ""
    assert play(learned)[0].count("\n") == 6


def test_other_episodes(play: Played, learned: Path) -> None:
    found = json.loads(play(learned, "--episodes", 2, "--seed", 7, "--json")[0])
    expected = [by_hand(learned, episode_seed(7, number)) for number in range(2)]
    assert found["returns"] == pytest.approx(expected, rel=1e-4)


def test_another_environment(play: Played, learned: Path) -> None:
    class Doubled(gymnasium.RewardWrapper[Any, Any]):
        def reward(self, reward: Any) -> Any:
            return 2 * reward

    if "Doubled-v0" not in gymnasium.registry:
        gymnasium.register("Doubled-v0", lambda **options: Doubled(gymnasium.make("Pendulum-v1", **options).unwrapped))
    once, twice = (json.loads(play(learned, "--json", *more)[0]) for more in ([], ["--env", "Doubled-v0"]))
    assert twice["returns"] == pytest.approx([2 * total for total in once["returns"]])
    assert twice["env"] == "Doubled-v0"
    with pytest.raises(ValueError, match=r"Hopper-v5: expected the observation space of Pendulum-v1, Box.*, got Box"):
        play(learned, "--env", "Hopper-v5")


def test_a_plan_is_played(play: Played, planned: Path) -> None:
    """From a cold start: the same again after any other episodes."""
    first = json.loads(play(planned, "--episodes", 2, "--json")[0])
    assert first["lengths"] == [10, 10]
    assert json.loads(play(planned, "--episodes", 2, "--json")[0]) == first
    assert json.loads(play(planned, "--episodes", 2, "--seed", 1, "--json")[0])["returns"] != first["returns"]


@pytest.mark.parametrize("named", [False, True])
def test_the_best_is_filmed(play: Played, learned: Path, tmp_path: Path, named: bool) -> None:
    path = tmp_path / "new/film.mp4" if named else learned / "play.mp4"
    out, _ = play(learned, "--episodes", 2, "--video", *([path] if named else []))
    assert b"ftyp" in path.read_bytes()[:12]
    assert out.rstrip().endswith(f"; the best episode is in {path}")
    assert not list(path.parent.glob("part.*"))


def test_the_film_is_of_the_best(play: Played, learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its actions after its seed give its return."""
    filmed: list[Any] = []
    monkeypatch.setattr("elites.runs.commands.play.film", lambda *arguments: filmed.append(arguments))
    found = json.loads(play(learned, "--episodes", 3, "--video", "--json")[0])
    ((best, spec, path, _),) = filmed
    world = gymnasium.make(spec)
    world.reset(seed=best.seed)
    assert sum(float(world.step(action)[1]) for action in best.actions) == pytest.approx(max(found["returns"]))
    assert len(set(found["returns"])) == 3
    assert found["video"] == str(path) == str(learned / "play.mp4")


def test_where_nothing_can_be_filmed(play: Played, learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "no-ffmpeg")
    (learned / "play.mp4").unlink(missing_ok=True)
    out, err = play(learned, "--episodes", 1, "--video")
    assert err.startswith("no video: filming failed: ")
    assert err.count("\n") == 1
    assert "the best episode is in" not in out
    assert not list(learned.glob("*play.mp4"))
    found = json.loads(play(learned, "--episodes", 1, "--video", "--json")[0])
    assert found["video"] is None


def test_mistakes_in_one_line(play: Played, learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/config.yaml").write_text((learned / "config.yaml").read_text())
    with pytest.raises(ValueError, match="expected a run with a checkpoint, found none"):
        play(tmp_path / "empty")
    with pytest.raises(ValueError, match="--device quantum: "):
        play(learned, "--device", "quantum")
    with pytest.raises(SystemExit) as left:
        cli.run(lambda: main([str(learned), "--env", "Pendulam-v1"], "elites play"), "elites play")
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("elites play: env: Environment `Pendulam` doesn't exist")


def test_a_policy_that_waits_is_played_by_what_explores(play: Played, tmp_path: Path) -> None:
    """An offline CGP run that has not ended plays by its search."""
    settings = LearnSettings(
        env="Pendulum-v1",
        agent=CGP(network=Network.of(Architecture((8, 8))), batch=8, mode="offline"),
        episode_steps=10,
        random_steps=20,
        steps=40,
        evaluation_episodes=0,
    )
    train(settings, tmp_path / "run")
    assert json.loads(play(tmp_path / "run", "--episodes", 1, "--json")[0])["lengths"] == [10]
