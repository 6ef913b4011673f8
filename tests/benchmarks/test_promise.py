"""benchmarks/promise.py on a tiny run: its figures against a replay by hand."""

from __future__ import annotations

import csv
import itertools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import torch
from torch import Generator

from elites.dynamics import Return
from elites.runs.load import load_pets

ROOT = Path(__file__).parents[2]

SIZES = ["model.architecture.hidden=[16]", "training.epochs=3", "horizon=5"]
TINY = [*SIZES, "random_episodes=2", "episodes=1", "episode_steps=12"]
SMALL = "{name: cem, samples: 8, elites: 2, iterations: 2}"


def script(name: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    folder = "examples" if name == "pets.py" else "benchmarks"
    command = [sys.executable, str(ROOT / folder / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("promise") / "run"
    done = script("pets.py", *[f"--set={one}" for one in TINY], "--quiet", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_an_episode_by_hand(promise: Any, run: Path) -> None:
    """The return is the environment's. `promised` uses the plan's own particles, `found out` uses 200 others."""
    agent, settings = load_pets(run, print)
    env = gymnasium.make(settings.env)
    found = promise.episode(agent, env, start=7, steps=6)

    agent, _ = load_pets(run, print)
    observation, _ = env.reset(seed=7)
    agent.begin()
    total, promised, others = 0.0, [], []
    for step in range(6):
        action = agent.act(observation)
        assert agent.mpc.last
        plan = agent.mpc.last.plan
        promised.append(plan.value.item())
        if step in (0, 5):
            state = torch.as_tensor(observation, dtype=torch.float32)[None]
            returns = Return(agent.model, agent.task.reward, agent.task.terminated, particles=200)
            others.append(returns.at(state, Generator().manual_seed(0))(plan.best[None]).item())
        observation, reward, *_ = env.step(action)
        total += float(reward)
    assert found["return"] == pytest.approx(total)
    assert found["promised"] == pytest.approx(sum(promised) / 6)
    assert found["found_out"] == pytest.approx(sum(others) / 2, rel=1e-5)


def test_as_a_user_runs_it(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    flags = ["--planner", "random_shooting", SMALL, "--steps=3", "--csv", tmp_path / "a.csv"]
    done = script("promise.py", run, other, *flags)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [(row["run"], row["start"], row["planner"]) for row in rows] == list(
        itertools.product(("run", "other"), ("100", "101"), ("random_shooting", SMALL))
    )
    assert len(done.stdout.splitlines()) == 2 + 8


def test_other_settings_of_the_run(run: Path, tmp_path: Path) -> None:
    """Each change alone, with the run's own planner and its learned value."""
    flags = ["--settings", "horizon=2", "horizon=3 particles=1", "--starts=7", "--steps=2", "--csv", tmp_path / "a.csv"]
    done = script("promise.py", run, *flags)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [(row["planner"], row["settings"]) for row in rows] == [("", "horizon=2"), ("", "horizon=3 particles=1")]


def test_values_come_with_the_model(promise: Any, run: Path) -> None:
    _, settings = load_pets(run, print)
    env = gymnasium.make(settings.env)
    valued = promise.changed(settings, "discount=0.9 value.networks=2")
    by = valued.make_agent(env)
    by.value.mean.fill_(3.0)
    assert promise.taught(valued, by, env).value(torch.zeros(1, 4)).item() == 3
    assert promise.taught(settings, by, env).value is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--planner", "cme"], "unknown planner 'cme'"),
        (["--planner", "{name: cem, sample: 3}"], "sample: unknown key"),
        (["--settings", "discount=0.9 value={}"], "--settings: expected value=null, as the run has learned no value"),
        (["--settings", "horizn=3"], "--settings horizn=3: horizn: unknown key; did you mean 'horizon'"),
        (["--steps=0"], "--steps: expected at least 1, got 0"),
    ],
)
def test_mistakes_in_one_line(run: Path, arguments: list[str], message: str) -> None:
    done = script("promise.py", run, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
