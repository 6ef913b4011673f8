"""Checkpoints of this release and earlier ones load and resume. Others are refused in one line."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Generator
from torch.nn import functional

from elites.agents import Grown
from elites.dynamics.ensemble import soft_variance
from elites.runs import Observer, checkpoint, conversion, settings_of, train
from elites.runs.load import load_pets

DATA = Path(__file__).parents[1] / "data"
KEPT = sorted(DATA.glob("checkpoint-*"))
OLD_UNITS = DATA / "checkpoint-format-2-pets"


class Rows(Observer):
    speaks = True

    def __init__(self) -> None:
        self.before: list[Any] = []
        self.after: list[Any] = []

    def began(self, run: Any) -> None:
        self.before = list(run.rows)

    def row(self, row: Any) -> None:
        self.after.append(row)


def test_there_is_one_of_each_kind_and_format() -> None:
    kinds = {tuple(folder.name.split("-")[2:]) for folder in KEPT}
    assert kinds == {(str(number), kind) for number in (2, conversion.FORMAT) for kind in ("pets", "td3")}
    assert sum(path.stat().st_size for folder in KEPT for path in folder.rglob("*")) < 400_000


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_a_checkpoint_of_a_release_is_loaded_and_gone_on_with(tmp_path: Path, folder: Path) -> None:
    """Works on any processor, so the test does not compare bits."""
    shutil.copytree(folder, tmp_path / "run")
    state, watching = checkpoint.newest(tmp_path / "run/checkpoints", pytest.fail), Rows()
    summary = train(settings_of(tmp_path / "run"), tmp_path / "run", resume=True, observers=[watching])
    assert summary.finished
    assert watching.before == state["rows"]
    assert len(watching.after) >= 2
    assert summary.env_steps > state["steps"] > 10
    assert summary.wall_s >= round(state["wall"], 1) > 0


def test_one_of_a_later_release_is_refused(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path, {"count": 1})
    newer = checkpoint.write(tmp_path, {"count": 2})
    document = json.loads(newer.read_text()) | {"format": 9}
    del document["document"]
    document["document"] = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    newer.write_text(json.dumps(document))
    said = rf"^{newer}: expected a checkpoint of format 1, 2, {conversion.FORMAT}, got one of format 9$"
    with pytest.raises(ValueError, match=said):
        checkpoint.newest(tmp_path, pytest.fail)
    assert checkpoint.read(path) == {"count": 1}


def first_edition(folder: Path, state: dict[str, Any]) -> None:
    """A checkpoint of format 1: without a format, and with whole columns of the replay."""
    path = checkpoint.write(folder, state)
    document = json.loads(path.read_text())
    del document["document"], document["format"], document["segments"]
    document["document"] = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(document))


def test_one_of_the_first_edition_is_converted(tmp_path: Path) -> None:
    columns = {"state": torch.arange(12.0).reshape(6, 2), "reward": torch.arange(6.0)}
    state = {
        "agent": {"replay": {"total": 10, "columns": columns}, "rng": torch.ones(2)},
        "rows": [{"return": 1.0}],
        "numbers": [3, 4],
        "best": {},
    }
    first_edition(tmp_path, state)
    found = checkpoint.newest(tmp_path, pytest.fail)
    rows = found["agent"]["replay"]["rows"]
    assert isinstance(rows, Grown)
    assert rows.first == 4
    assert torch.equal(rows.columns["state"], columns["state"])
    assert found["chosen"] is None
    assert found["best"] is None
    assert found["seeded"].tolist() == [True, True]
    assert found["rows"] == state["rows"]


def test_one_that_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    first_edition(tmp_path, {"agent": {}})
    with pytest.raises(ValueError, match=r"expected a checkpoint of format 3, got one of format 1, which cannot be"):
        checkpoint.newest(tmp_path, pytest.fail)


def test_a_model_of_the_old_units_stays_the_same_function(tmp_path: Path) -> None:
    """The stored checkpoint of format 2: its ensemble's predictions, computed by hand without units."""
    shutil.copytree(OLD_UNITS, tmp_path / "run")
    agent, _ = load_pets(tmp_path / "run")
    tensors = safetensors.torch.load_file(max(OLD_UNITS.glob("checkpoints/0*.safetensors")))
    old = {name.removeprefix("agent.model."): value for name, value in tensors.items() if ".model." in name}
    assert "target_std" not in old
    state, action = torch.randn(5, 4, generator=Generator().manual_seed(0)), torch.linspace(-1, 1, 5)[:, None]
    mean, variance = agent.model.predict(state, action)
    x = functional.silu(agent.model.inputs(state, action) @ old["mlp.weights.0"] + old["mlp.biases.0"])
    change, raw = (x @ old["mlp.weights.1"] + old["mlp.biases.1"]).chunk(2, -1)
    assert torch.allclose(mean, state + change, atol=1e-6)
    assert torch.allclose(variance, soft_variance(raw, old["min_log_var"], old["max_log_var"]), rtol=1e-5)


def test_every_step_of_a_conversion_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "FORMAT", 3)
    monkeypatch.setattr(conversion, "CONVERTERS", {1: lambda s: s | {"a": 1}, 2: lambda s: s | {"b": s["a"] + 1}})
    assert conversion.converted({}, 1, "x") == {"a": 1, "b": 2}
    assert conversion.converted({"a": 5}, 2, "x") == {"a": 5, "b": 6}
    assert conversion.converted({}, 3, "x") == {}
