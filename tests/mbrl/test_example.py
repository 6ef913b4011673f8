"""mbrl-lib's PETS from the command line, and the code of docs/guides/mbrl.md."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
import pytest
from mbrl.planning import TrajectoryOptimizer
from omegaconf import OmegaConf

from elites.agents.mbrl import Agent
from elites.planners import CEMGD, ICEM

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guides/mbrl.md").read_text()
SMALL = ["algorithm.num_particles=5", "algorithm.initial_exploration_steps=60", "dynamics_model.hid_size=16"]
SMALL += ["overrides.num_epochs_train_model=2", "overrides.planning_horizon=5"]
OWN = {
    "mbrl_cem": ["overrides.cem_population_size=20", "overrides.cem_num_iters=2"],
    "cem": ["action_optimizer.planner.samples=20", "action_optimizer.planner.elites=2"],
    "cem_gd": ["algorithm.agent.planner.cold.samples=60", "algorithm.agent.planner.ascent.steps=2"],
}


Example = Callable[..., tuple[int, str, str]]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Example:
    """Runs the script in this process: its exit code, its output, its errors and progress."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["examples/mbrl_pets.py", "--steps", "2", *arguments])
        monkeypatch.setattr(sys, "path", list(sys.path))
        code = 0
        try:
            runpy.run_path(str(ROOT / "examples/mbrl_pets.py"), run_name="__main__")
        except SystemExit as exit:
            code = int(exit.code or 0)
        return code, *capsys.readouterr()

    return run


def small(optimizer: str) -> list[str]:
    return ["--optimizer", optimizer, *(part for change in SMALL + OWN[optimizer] for part in ("--set", change))]


@pytest.mark.parametrize("optimizer", OWN)
def test_pets_with_every_optimizer(optimizer: str, example: Example) -> None:
    code, out, err = example(*small(optimizer), "--json", "--quiet")
    assert code == 0, err
    row = json.loads(out)
    assert row["optimizer"] == optimizer
    assert row["plan_ms_median"] > 0
    (steps,) = row["returns"]  # one episode, to its end
    assert 2 <= steps <= 200


def test_table_and_progress(example: Example) -> None:
    code, out, err = example(*small("cem_gd"))
    assert code == 0, err
    header, row = out.splitlines()
    assert header.startswith("optimizer")
    assert re.fullmatch(r"cem_gd +\d+ ms +[\d.]+ s +\d+", row)
    assert "steps  return" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "expected --steps of at least 1"),
        ([*small("cem"), "--set", "overrides.no_such_key=1"], "no_such_key"),
        ([*small("cem"), "--set", "action_optimizer.planner.samples=0"], "planner: samples: expected an integer"),
        ([*small("cem_gd"), "--reward", "cartpole"], "expected values with a gradient"),
    ],
)
def test_mistakes_in_one_line(arguments: list[str], message: str, example: Example) -> None:
    code, out, err = example(*arguments, "--quiet", "--json")
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("mbrl_pets: ")
    assert err.count("\n") == 1


def test_the_page_runs(tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)))
    assert runpy.run_path(str(program))["action"].shape == (1,)


def test_the_pages_yaml_is_ours_and_its_commands_what_is_tested() -> None:
    agent, optimizer = (OmegaConf.create(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    around = OmegaConf.create({"seed": 0, "device": "cpu", "overrides": {"planning_horizon": 7}})
    cfg = OmegaConf.merge(around, agent, {"agent": {"action_lb": [-1.0], "action_ub": [1.0]}, "optimizer": optimizer})
    made = hydra.utils.instantiate(cfg.agent)
    assert isinstance(made, Agent)
    assert (made.planner, made.horizon) == (CEMGD(), 7)
    assert TrajectoryOptimizer(cfg.optimizer, [-1.0], [1.0], 7).optimizer.planner == ICEM(samples=100)
    installed = (ROOT / "Makefile").read_text() + (ROOT / "tests/mbrl/requirements.txt").read_text()
    for command in re.findall(r"^pip install (.*)$", PAGE, re.MULTILINE):
        assert all(name in installed for name in command.split() if name not in ("elites", "--no-deps"))
