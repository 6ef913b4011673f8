"""`elites bench` with mbrl-lib and others: one model for all, and the counts of their work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Generator, Tensor

from elites.dynamics import Return
from elites.planners import GradientAscent, Plan
from elites.runs.bench import measures, peers, xla
from elites.runs.bench.mbrl import mbrl_model
from elites.runs.bench.ours import ours
from elites.runs.bench.setting import Accounted, Contender, Setting, ensemble, given, reward
from elites.runs.bench.worker import Worker
from elites.spaces import Box

ROOT = Path(__file__).parents[2]
TINY = ["--size", "3,2", "--members", "2", "--particles", "2", "--horizon", "3", "--rounds", "1", "--threads", "1"]
SILU = {"activation_fn_cfg": {"_target_": "torch.nn.SiLU"}}
SMALL = Setting(observation=3, action=2, members=2, particles=4, horizon=3, rounds=3)


def without_noise(setting: Any) -> dict[str, Tensor]:
    """Networks with a log variance so low that every draw is the mean, bit for bit."""
    state, _ = given(setting)
    state["min_log_var"].fill_(-200.0)
    state["mlp.biases.3"][..., setting.observation :] = -400.0
    state["mlp.biases.0"].normal_(generator=Generator().manual_seed(1))  # they are 0 in a new network
    return state


def by() -> str:
    """One of our contenders that can plan in this process."""
    return "kernel" if peers.absent("kernel", "cpu") is None else "torch"


# --- as a user runs it ------------------------------------------------------------------------------------------------


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks/benchmark.py"), *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("library", ["ours", "mbrl-lib"])
def test_the_weights_are_held(library: str) -> None:
    state, observations = given(SMALL)
    contend = ours if library == "ours" else peers.mbrl_lib
    contender, turns = Contender("cem 50", by() if library == "ours" else library), iter(observations)
    _, held, _ = measures.memory(lambda: contend(contender, SMALL, state), lambda plan: plan(next(turns)), "cpu")
    weights = 4 * sum(tensor.numel() for tensor in state.values())
    assert weights <= held + 1000 < 3 * weights


# --- the same model for all -------------------------------------------------------------------------------------------


def test_every_member_of_mbrl_libs_predicts_what_ours_does() -> None:
    state, _ = given(SMALL)
    state["mlp.biases.0"].normal_(generator=Generator().manual_seed(1))  # they are 0 in a new network
    state["mlp.biases.3"].normal_(generator=Generator().manual_seed(2))
    state["min_log_var"].fill_(-3.0)
    state["max_log_var"].fill_(1.0)
    x = torch.randn(6, 5, generator=Generator().manual_seed(0))
    after, variance = ensemble(SMALL, state).predict(x[:, :3], x[:, 3:])
    net = mbrl_model(SMALL, state, SILU).dynamics_model.model
    mean, log_variance = net(x, use_propagation=False)
    torch.testing.assert_close(x[:, :3] + mean, after)
    torch.testing.assert_close(log_variance.exp(), variance)


def test_mbrl_lib_gives_an_action_sequence_the_value_that_ours_has() -> None:
    """With one network and without noise."""
    alone = Setting(observation=3, action=2, members=1, particles=4, horizon=3, rounds=3)
    state = without_noise(alone)
    actions = torch.rand(20, 3, 2, generator=Generator().manual_seed(0)) * 2 - 1
    observation = torch.tensor([0.3, -0.2, 0.1])
    theirs = mbrl_model(alone, state, SILU).evaluate_action_sequences(actions, observation.numpy(), 4)
    returns = Return(ensemble(alone, state), reward, particles=4)
    mine = returns.at(observation, Generator())(actions)
    assert mine.std() > 0.01
    torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=1e-5)


def test_xlas_program_gives_an_action_sequence_the_value_that_ours_has() -> None:
    jax = pytest.importorskip("jax")
    state = without_noise(SMALL)
    actions = torch.rand(20, 3, 2, generator=Generator().manual_seed(0)) * 2 - 1
    observation = torch.tensor([0.3, -0.2, 0.1])
    weights = {name: x.numpy() for name, x in state.items()}
    theirs = xla.returns_of(SMALL)(weights, observation.numpy(), actions.numpy(), jax.random.PRNGKey(0))
    mine = Return(ensemble(SMALL, state), reward, particles=4).at(observation, Generator())(actions)
    assert mine.std() > 0.005
    torch.testing.assert_close(torch.tensor(theirs.tolist()), mine, rtol=1e-4, atol=1e-5)


def test_xlas_ascent_ends_where_ours_does() -> None:
    jax = pytest.importorskip("jax")
    state, observations = given(SMALL)
    state["mlp.biases.0"].normal_(generator=Generator().manual_seed(1))
    start, observation = torch.full((3, 2), 0.4), observations[0]
    weights = {name: x.numpy() for name, x in state.items()}
    theirs = jax.jit(xla.ascent_of(SMALL))(weights, observation.numpy(), start.numpy())
    objective = Return(ensemble(SMALL, state), reward, particles=4, gradient="means").at(observation, Generator())
    mine = GradientAscent(starts=1).plan(objective, Box(-torch.ones(3, 2), torch.ones(3, 2)), Plan.at(start))
    assert (mine.best - start).abs().min() > 2e-4
    torch.testing.assert_close(torch.tensor(theirs.tolist()), mine.best, rtol=0, atol=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="keeps to its cores on Linux")
@pytest.mark.parametrize("name", ["xla", "mbrl-lib", "torch"])
def test_a_contender_keeps_to_its_cores(name: str, tmp_path: Path) -> None:
    if why := peers.absent(name, "cpu"):
        pytest.skip(why)
    state, observations = given(SMALL)
    save_file({**state, "observations": observations}, tmp_path / "model.safetensors")
    with Worker(Contender("cem 50", name), SMALL, tmp_path) as worker:
        worker.turn()
        worker.turn()
        tasks = Path(f"/proc/{worker.process.pid}/task").iterdir()
        assert {len(os.sched_getaffinity(int(task.name))) for task in tasks} == {SMALL.threads}


def test_xlas_account_grows_with_the_samples() -> None:
    pytest.importorskip("jax")
    state, observations = given(SMALL)
    few, many = (xla.xla(Contender(name, "xla"), SMALL, state) for name in ("cem 50", "cem 500"))
    weights = sum(4 * x.numel() for name, x in state.items() if name.startswith("mlp."))
    assert isinstance(few, Accounted)
    assert isinstance(many, Accounted)
    assert weights <= few.held <= many.held < 2 * weights
    assert 0 < few.peak < many.peak
    assert sum(few(observations[0]).values()) == xla.ITERATIONS


@pytest.mark.parametrize("contender", [Contender("cem 50", "torchrl"), Contender("mppi", "pytorch-mppi")])
def test_other_libraries_roll_out_as_much_as_is_said(contender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if why := peers.absent(contender.by, "cpu"):
        pytest.skip(why)
    state, observations = given(SMALL)
    seen: list[int] = []
    real = peers.stepping(SMALL, state)

    def step(observation: Tensor, action: Tensor) -> Tensor:
        seen.append(len(observation))
        return Tensor(real(observation, action))

    monkeypatch.setattr(peers, "stepping", lambda setting, state: step)
    plan = peers.PEERS[contender.by].contend(contender, SMALL, state)
    seen.clear()
    work = plan(observations[0])
    assert Counter(seen) == {rows: 3 * count for (rows, _), count in work.items()}


def test_a_tiny_run(tmp_path: Path) -> None:
    out = tmp_path / "benchmark.json"
    chosen = ["--by", "mbrl-lib", "torch", "--planner", "cem_gd", "--noise", "independent", "common"]
    done = run(*TINY, *chosen, "--json", "--quiet", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document == json.loads(out.read_text())
    rows = document["rows"]
    assert [(row["planner"], row["by"], row["noise"]) for row in rows] == [
        ("cem 50", "mbrl-lib", "independent"),
        ("cem_gd", "torch", "independent"),
        ("cem_gd", "torch", "common"),
        ("cem_gd means", "torch", "independent"),
        ("cem_gd means", "torch", "common"),
    ]
    assert rows[0]["speed_by_reference"] == 1
    assert all(row["plan_ms_median"] > 0 and row["time_by_floor"] > 0 and row["held_mb"] > 0 for row in rows)
    assert rows[1]["peak_mb"] > 0
    assert document["machine"]["mbrl"] == "0.2.0"
    assert document["settings"]["horizon"] == 3
    assert document["command"].startswith("python benchmarks/benchmark.py --size 3,2")


def test_one_that_dies_is_left_out_with_the_last_word_it_had() -> None:
    """Three members refuse 10 candidates × 2 particles."""
    done = run(*TINY, "--members", "3", "--by", "mbrl-lib", "torch", "--planner", "cem_gd", "--json", "--quiet")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "elites bench: cem 50, mbrl-lib, independent: ended with exit code 2: worker: To use GaussianMLP"
    )
    assert done.stderr.count("\n") == 1
    rows = json.loads(done.stdout)["rows"]
    assert [(row["planner"], row["by"], row["speed_by_reference"]) for row in rows] == [
        ("cem_gd", "torch", None),
        ("cem_gd means", "torch", None),
    ]
