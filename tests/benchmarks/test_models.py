"""benchmarks/models.py: its figures by hand, its data sets, and a tiny comparison."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator

from elites.dynamics import EnsembleConfig, ProbabilisticEnsemble
from elites.envs import Task
from elites.envs.any_env import never_paid
from elites.networks.architecture import Architecture
from elites.runs.bench import transitions
from elites.runs.bench.foresight import foresight
from elites.runs.bench.transitions import DataSet, Episode, data_set

TASK = Task(never_paid)


def walk(length: int, step: float) -> Episode:
    """An entry that grows by `step`."""
    state = step * torch.arange(length, dtype=torch.float32)[:, None]
    return Episode(state, torch.zeros(length, 1), state + step)


def stepping(step: float) -> ProbabilisticEnsemble:
    """A model that predicts a growth by `step`, nearly without noise."""
    config = EnsembleConfig(2, Architecture((4,), "silu"))
    model = ProbabilisticEnsemble(1, 1, config, rng=Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in (*model.mlp.weights, *model.mlp.biases):
            parameter.zero_()
        model.mlp.biases[-1][..., 0] = step
        model.min_log_var.fill_(-30)
        model.max_log_var.fill_(-29)
    return model


def test_an_open_loop_by_hand() -> None:
    """Off by 0.5 at every step, in units of the training spread; an episode of 30 steps has no step 45."""
    data = DataSet("walk", TASK, walk(200, 1.0), [walk(100, 1.0), walk(30, 1.0)])
    found, unit = foresight(stepping(1.5), data), walk(200, 1.0).next_state.std(correction=0).item()
    assert found.open_20 == pytest.approx(20 * 0.5 / unit, rel=1e-4)
    assert found.open_45 == pytest.approx(45 * 0.5 / unit, rel=1e-4)
    assert found.speed_45 == pytest.approx(45 * 0.5 / ((45 + 90) / 2), rel=1e-4)
    assert found.rmse == pytest.approx(0.5, rel=1e-4)  # an entry that always grows by 1 keeps its own unit
    short = foresight(stepping(1.5), DataSet("short", TASK, walk(200, 1.0), [walk(30, 1.0)]))
    assert short.open_20 == pytest.approx(found.open_20)
    assert math.isnan(short.open_45)


def test_whole_episodes_are_held_out_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "TRAINING", 100)
    monkeypatch.setattr(transitions, "HELD_OUT", 70)
    said: list[str] = []
    first = data_set("swingup", "random", tmp_path, said.append)
    assert first.training.state.shape == (100, 4)
    assert sum(len(episode.state) for episode in first.held_out) >= 70
    for episode in first.held_out:
        assert torch.equal(episode.state[1:], episode.next_state[:-1])
        start = episode.state[0] - torch.tensor([0, 0, math.pi, 0])
        assert (start.abs() <= 0.051).all()
        assert not (first.training.state == episode.state[0]).all(1).any()
    again = data_set("swingup", "random", tmp_path, said.append)
    assert torch.equal(first.training.action, again.training.action)
    assert said == ["swingup, random: acting"]


def test_a_learned_reward_is_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "TRAINING", 30)
    monkeypatch.setattr(transitions, "HELD_OUT", 10)
    rows = data_set("hopper", "random", tmp_path).training
    assert rows.state.shape == (30, 12)
    assert (rows.state[:, -1] == 0).all()
    assert 0.5 < rows.next_state[:, -1].mean() < 1.5  # 1 for each step without a fall, plus the speed


def test_a_tiny_comparison(models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(transitions, "TRAINING", 100)
    monkeypatch.setattr(transitions, "HELD_OUT", 70)
    flags = ["--data", "swingup-random", "--trainer", "elites", "--seeds", "2", "--epochs", "1"]
    places = ["--folder", str(tmp_path), "--csv", str(tmp_path / "models.csv")]
    monkeypatch.setattr("sys.argv", ["models.py", *flags, *places])
    models.main()
    rows = list(csv.DictReader((tmp_path / "models.csv").read_text().splitlines()))
    assert [(row["data"], row["trainer"], row["seed"], row["epochs"]) for row in rows] == [
        ("swingup-random", "elites", "0", "1"),
        ("swingup-random", "elites", "1", "1"),
    ]
    median = (float(rows[0]["nll"]) + float(rows[1]["nll"])) / 2
    assert f"| swingup-random | elites | {median:.3f} |" in capsys.readouterr().out


def test_settings_of_ours(models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "TRAINING", 100)
    monkeypatch.setattr(transitions, "HELD_OUT", 70)

    def nll(*assignments: str) -> str:
        flags = ["--data", "swingup-random", "--trainer", "elites", "--epochs", "1"]
        places = ["--folder", str(tmp_path), "--csv", str(tmp_path / "models.csv")]
        monkeypatch.setattr("sys.argv", ["models.py", *flags, *places, *(x for a in assignments for x in ("--set", a))])
        models.main()
        return next(csv.DictReader((tmp_path / "models.csv").read_text().splitlines()))["nll"]

    assert nll() == nll("training.beta=0.25") != nll("training.beta=0.5")
    assert nll("model.architecture.hidden=[20]") != nll("model.architecture.hidden=[30]")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--seeds", "0"], "--seeds: expected at least 1, got 0"),
        (["--epochs", "-3"], "--epochs: expected at least 1, got -3"),
        (["--trainer", "mbrl-lib"], "--trainer: mbrl-lib is not installed here"),
        (["--set", "training.bat=3"], "--set: training.bat: unknown key; did you mean 'batch'"),
    ],
)
def test_bad_arguments(models: Any, monkeypatch: pytest.MonkeyPatch, flags: list[str], said: str) -> None:
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["models.py", *flags])
    with pytest.raises(ValueError, match=f"^{said}"):
        models.main()
