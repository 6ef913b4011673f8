"""`elites bench`: its counts, measurements and comparisons, without a clock. tests/mbrl has other libraries."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Generator, Tensor

from elites import cli
from elites.dynamics import ProbabilisticEnsemble
from elites.planners import PLANNERS
from elites.runs.bench import comparison, measures, peers
from elites.runs.bench.ours import ours
from elites.runs.bench.setting import Contender, Setting, ensemble, given
from elites.runs.commands import bench

ROOT = Path(__file__).parents[2]
TINY = ["--size", "3,2", "--members", "2", "--particles", "2", "--horizon", "3", "--rounds", "1", "--threads", "1"]
SMALL = Setting(observation=3, action=2, members=2, particles=4, horizon=3, rounds=3)


def without_noise(setting: Any) -> dict[str, Tensor]:
    """Networks with a log variance so low that every draw is the mean, bit for bit."""
    state, _ = given(setting)
    state["min_log_var"].fill_(-200.0)
    state["mlp.biases.3"][..., setting.observation :] = -400.0
    state["mlp.biases.0"].normal_(generator=Generator().manual_seed(1))  # they are 0 in a new network
    return state


# --- figures ----------------------------------------------------------------------------------------------------------


def test_ratios_are_paired() -> None:
    """Ratios are taken within a round. The ratio of the medians would be 4."""
    assert measures.paired([2.0, 4.0, 9.0], [1.0, 1.0, 3.0]) == 3.0
    with pytest.raises(ValueError, match="shorter"):
        measures.paired([1.0, 2.0], [1.0])


def answers(*milliseconds: float, floor: float = 1.0) -> dict[str, list[float]]:
    rounds = len(milliseconds)
    found = {"seconds": [1e-3 * x for x in milliseconds], "floor": [1e-3 * floor] * rounds, "rows": [200.0] * rounds}
    return found | {"operations": [3e9] * rounds, "held": [2e6], "peak": [1e6]}


def test_rows_have_quartiles_and_ratios_to_the_same_plan_or_to_a_cem_as_large() -> None:
    found = {
        Contender("cem 50", "mbrl-lib"): answers(8, 2, 4),
        Contender("cem 50", "torch"): answers(2, 1, 4, floor=0.5),
        Contender("cem_gd", "torch", "common"): answers(16, 2, 2),
        Contender("cem_gd", "kernel", "common"): answers(8, 1, 1),
        Contender("mppi", "torch"): answers(1, 2, 3, 4, 5),
    }
    theirs, cem, gradient, kernel, mppi = comparison.rows_of(found, SMALL, "mbrl-lib")
    assert [mppi[f"plan_ms_{key}"] for key in ("q1", "median", "q3")] == pytest.approx([2, 3, 4])
    assert (cem["planner"], cem["by"], cem["noise"], cem["size"]) == ("cem 50", "torch", "independent", [3, 2])
    assert [row["speed_by_reference"] for row in (theirs, cem, gradient)] == pytest.approx([1, 2, 1])
    assert mppi["speed_by_reference"] is None  # this round has no CEM 500
    assert cem["time_by_floor"] == pytest.approx(4)
    assert (cem["rollouts"], cem["gflop"], cem["floor_gflop_per_s"]) == pytest.approx((50, 3, 6000))
    assert (cem["held_mb"], cem["peak_mb"]) == (2, 1)
    *_, kernel, _ = comparison.rows_of(found, SMALL, "torch")
    assert kernel["speed_by_reference"] == pytest.approx(2)  # against the same plan, not against the CEM


def test_tables() -> None:
    found = {Contender("cem 50", "mbrl-lib"): answers(120, 130, 140), Contender("cem_gd", "torch"): answers(1, 2, 3)}
    rows = comparison.rows_of(found, SMALL, "mbrl-lib")
    header, *lines = comparison.table(rows, "mbrl-lib", markdown=False).split("\n")
    assert len({len(line) for line in (header, *lines)}) == 1
    assert header.split("  ")[0] == "planner"
    assert " ".join(lines[1].split()) == "cem_gd torch independent 50 2.0 1.5 – 2.5 65.00 2.0 2.0 + 1.0"
    assert "125 – 135" in lines[0]
    header, rule, first, _ = comparison.table(rows[1:] + rows[:1], "torch", markdown=True).split("\n")
    assert header.count("|") == rule.count("|") == first.count("|") == 10
    assert "speed / torch" in header


# --- the floor --------------------------------------------------------------------------------------------------------


def test_operations_of_a_small_plan_by_hand() -> None:
    """Layers of 5 × 200, twice 200 × 200, 200 × 6; two rollouts of 10 rows, and one of 4 with a gradient."""
    floor = measures.Floor(SMALL, given(SMALL)[0])
    products = 5 * 200 + 200 * 200 + 200 * 200 + 200 * 6
    assert floor.operations(Counter({(10, False): 2, (4, True): 1})) == 2 * products * 3 * (10 + 10 + 4 + 4)


def test_the_floor_is_so_many_steps_of_each_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    floor = measures.Floor(SMALL, given(SMALL)[0])
    monkeypatch.setattr(floor, "step", lambda rows: 0.5 if rows == 10 else 7.0)
    assert floor.seconds(Counter({(10, False): 2, (4, True): 1})) == 3 * (0.5 + 0.5 + 7 + 7)


def test_the_floors_products_are_the_networks() -> None:
    state = without_noise(SMALL)
    model = ensemble(SMALL, state)
    x = torch.randn(6, 5, generator=Generator().manual_seed(0))
    after, _ = model.predict(x[:, :3], x[:, 3:])
    output = peers.through(x.expand(2, -1, -1), model.mlp.layers(), torch.nn.functional.silu)
    torch.testing.assert_close(x[:, :3] + output[..., :3], after)


def test_what_a_plan_rolls_out_is_counted() -> None:
    state, observations = given(SMALL)
    plan = ours(Contender("cem 50", by()), SMALL, state)
    assert plan(observations[0]) == {(10 * 4, False): 5}
    assert plan(observations[1]) == {(11 * 4, False): 1, (10 * 4, False): 4}  # warm: the start is one of the candidates
    plan = ours(Contender("cem_gd", by(), "common"), SMALL, state)
    plan(observations[0])
    work = plan(observations[1])
    assert 1 <= work[4, True] <= 10
    assert 1 <= work[7 * 4, False] <= 10  # the first of eight step lengths is tried alone, with its gradient
    assert work.keys() - {(4, False)} == {(11 * 4, False), (10 * 4, False), (4, True), (7 * 4, False)}
    assert work[4, False] <= 1  # the last point's gradient, which nobody needs
    plan = ours(Contender("fast", by(), "common"), SMALL, state)
    plan(observations[0])
    work = plan(observations[1])
    assert work[2, True] + work[2, False] == 8  # a climb of eight points; only the first plan tried for a gradient
    assert sum(n for (rows, _), n in work.items() if rows != 2) <= 3


def test_who_is_absent_where() -> None:
    assert peers.absent("torch", "cpu") is None
    assert peers.absent("graphs", "cpu") == peers.absent("fused", "cpu") == "it is for GPUs"
    assert peers.absent("kernel", "cuda") == "it is for CPUs"


@pytest.mark.parametrize(("noise", "drawn"), [("independent", {(1, 10): 5}), ("common", {(): 1})])
def test_noise_is_drawn_for_every_candidate_or_once(
    noise: str, drawn: dict[tuple[int, ...], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = ProbabilisticEnsemble.draw, Counter()

    def draw(*args: Any) -> Any:
        seen[args[4] if len(args) > 4 else ()] += 1
        return real(*args)

    monkeypatch.setattr(ProbabilisticEnsemble, "draw", draw)
    state, observations = given(SMALL)
    ours(Contender("cem 50", by(), noise), SMALL, state)(observations[0])
    assert seen == drawn


@pytest.mark.parametrize("numbers", ["float16", "bfloat16", "bfloat16x3"])
def test_samples_are_scored_in_the_numbers_that_it_says(numbers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if by() == "torch":
        pytest.skip("the kernel was not built")
    real, seen = ProbabilisticEnsemble._rolled, Counter()

    def rolled(model: Any, state: Tensor, actions: Tensor, noise: Any, precision: str) -> Tensor:
        seen[precision, actions.requires_grad] += 1
        return real(model, state, actions, noise, precision)

    monkeypatch.setattr(ProbabilisticEnsemble, "_rolled", rolled)
    state, observations = given(SMALL)
    for plan, asked in (("cem 50", {(numbers, False)}), ("cem_gd cold", {(numbers, False), ("float32", True)})):
        seen.clear()
        ours(Contender(plan, f"kernel-{numbers}"), SMALL, state)(observations[0])
        assert asked <= seen.keys() <= asked | {("float32", False)}


def test_a_plan_by_another_than_it_says_is_refused() -> None:
    state, observations = given(SMALL)
    other = "torch" if by() == "kernel" else "kernel"
    with pytest.raises(RuntimeError, match=f"expected the plan of {other}, got {by()}'s"):
        ours(Contender("cem 50", other), SMALL, state)(observations[0])


def by() -> str:
    """One of our contenders that can plan in this process."""
    return "kernel" if peers.absent("kernel", "cpu") is None else "torch"


# --- memory -----------------------------------------------------------------------------------------------------------

MEGABYTES_10 = 2_500_000  # float32


def test_what_is_allocated_beforehand_is_held() -> None:
    _, held, peak = measures.memory(lambda: torch.zeros(MEGABYTES_10), lambda made: made.add_(1), "cpu")
    assert 10e6 <= held < 10.1e6
    assert peak < 0.1e6


def test_what_a_plan_allocates_and_frees_is_its_peak() -> None:
    _, held, peak = measures.memory(lambda: None, lambda _: torch.zeros(MEGABYTES_10).sum(), "cpu")
    assert held < 0.1e6
    assert 10e6 <= peak < 10.1e6


def test_what_the_first_plan_keeps_is_held_and_what_it_drops_is_not() -> None:
    """A buffer grows at its first use and stays. Another is needed only at the first use."""
    kept: list[Tensor] = []

    def use(_: None) -> None:
        if not kept:
            kept.append(torch.zeros(MEGABYTES_10))
            torch.zeros(2 * MEGABYTES_10)
        torch.zeros(MEGABYTES_10 // 2)

    _, held, peak = measures.memory(lambda: None, use, "cpu")
    assert 10e6 <= held < 10.1e6
    assert 5e6 <= peak < 5.1e6


def test_the_step_around_other_libraries_is_our_rollouts() -> None:
    """Particles are the outer axis, with equal numbers for each network."""
    state = without_noise(SMALL)
    step, model = peers.stepping(SMALL, state), ensemble(SMALL, state)
    first, actions = torch.tensor([0.3, -0.2, 0.1]), torch.rand(5, 3, 2, generator=Generator().manual_seed(0))
    observation = first.expand(4 * 5, -1)
    for t in range(3):
        observation = step(observation, actions[:, t].repeat(4, 1))
    states = model.rollout(first, actions, model.draw(4, 3, Generator()))  # (N, P, H, S)
    assert (states[:, 0] - states[:, 3]).abs().max() > 0.01  # two networks
    torch.testing.assert_close(observation.reshape(4, 5, 3).transpose(0, 1), states[:, :, -1], rtol=1e-4, atol=1e-5)


# --- who takes part ---------------------------------------------------------------------------------------------------


def test_contenders() -> None:
    both = ["independent", "common"]
    assert comparison.contenders_of(["cem_gd"], both, False, ["mbrl-lib", "torch"]) == [
        Contender("cem 50", "mbrl-lib"),
        Contender("cem_gd", "torch", "independent"),
        Contender("cem_gd", "torch", "common"),
        Contender("cem_gd means", "torch", "independent"),
        Contender("cem_gd means", "torch", "common"),
    ]
    assert Contender("cem_gd cold", "torch") in comparison.contenders_of(["cem_gd"], both, True, ["torch"])
    assert Contender("cem 15000", "mbrl-lib") in comparison.contenders_of(["cem_gd"], both, True, ["mbrl-lib"])
    everything = comparison.contenders_of(list(PLANNERS), ["independent"], False, ["torch"])
    planned = {contender.planner.split()[0] for contender in everything}
    assert planned == set(PLANNERS)


def test_who_takes_turns() -> None:
    theirs, cem, mppi = Contender("cem 500", "mbrl-lib"), Contender("cem 500", "torch"), Contender("mppi", "torch")
    everyone = [theirs, cem, mppi, Contender("mppi", "pytorch-mppi")]
    assert comparison.together("cem 500", everyone, "mbrl-lib") == [theirs, cem]
    assert comparison.together("mppi", everyone, "mbrl-lib") == [*everyone[2:], theirs]
    assert comparison.together("mppi", everyone, "torch") == everyone[2:]
    assert comparison.together("mppi", everyone[2:], "mbrl-lib") == everyone[2:]


# --- as a user runs it ------------------------------------------------------------------------------------------------


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks/benchmark.py"), *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_who_is_not_there_is_left_out_with_a_line() -> None:
    done = run(*TINY, "--by", "torch", "kernel", "--planner", "predictive_sampling", ELITES_NATIVE="0")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "elites bench: kernel is left out: the compiled rollout was not built\n"
    title, _, header, row, _ = done.stdout.split("\n", 4)
    assert title == "3 observations, 2 actions"
    assert row.split()[:4] == ["predictive_sampling", "torch", "independent", "101"]
    assert header.split()[0] == "planner"


def test_nobody_left_is_an_error() -> None:
    done = run(*TINY, "--by", "kernel", "--planner", "cem_gd", ELITES_NATIVE="0")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(": --by: nobody is left who has one of these plans")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--planner", "cme"], "--planner: expected cem,"),
        (["--by", "mbrl"], "--by: expected mbrl-lib,"),
        (["--noise", "none"], "--noise: expected independent or common, got 'none'"),
        (["--size", "4x1"], "--size: expected two numbers such as 4,1, got '4x1'"),
        (["--size", "0,1"], "Setting.observation: expected an integer of at least 1"),
        (["--rounds", "0"], "Setting.rounds: expected an integer of at least 1"),
        (["--device", "tpu"], "--device: expected cpu, or cuda on a machine with CUDA, got 'tpu'"),
        (["--out", "no/such/folder.json"], "No such file or directory"),
    ],
)
def test_mistakes_in_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as left:
        cli.run(lambda: bench.main(arguments, "elites bench"), "elites bench")
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, "")
    assert err.startswith("elites bench: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_worker_ends_with_whoever_asked(tmp_path: Path) -> None:
    state, observations = given(SMALL)
    save_file({**state, "observations": observations}, tmp_path / "model.safetensors")
    order = json.dumps([Contender("cem 50", by()), asdict(SMALL), str(tmp_path)])
    command = [sys.executable, "-m", "elites.runs.bench.worker", order]
    for turns, answers in ((0, 0), (2, 2), (99, 1 + SMALL.rounds)):
        done = subprocess.run(command, input="\n" * turns, capture_output=True, text=True, check=True)
        assert [sorted(json.loads(line)) for line in done.stdout.splitlines()] == [
            ["held", "peak"],
            *[["floor", "operations", "rows", "seconds"]] * (answers - 1),
        ][:answers]


def workers(folder: Path) -> list[int]:
    """The processes with this folder in their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = str(folder) in (process / "cmdline").read_text()
        except OSError:  # the process has ended
            continue
        if told:
            found.append(int(process.name))
    return found


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds processes in /proc, which only Linux has")
def test_ctrl_c_leaves_nobody_behind(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/benchmark.py"), *TINY, "--by", "torch", "--planner", "cem"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while len(workers(tmp_path)) < 1:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "benchmark: stopped" in err
    assert "Traceback" not in err
    assert workers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
