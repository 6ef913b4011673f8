"""benchmarks/sb3.py, and benchmarks/pace.py with Stable-Baselines3 and SBX."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from elites.agents import AGENTS, SAC, TD3, Agent
from elites.runs.bench.sb3 import model_for

ROOT = Path(__file__).parents[2]


def run(script: str, *flags: object) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--env", "Pendulum-v1", *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("agent", ["td3", "sac"])
def test_a_run_of_theirs_is_evaluated_as_ours_are(agent: str, tmp_path: Path) -> None:
    out = tmp_path / f"{agent}-0"
    run("sb3.py", "--agent", agent, "--steps", 350, "--random-steps", 100, "--evaluate-every", 100, "--out", out)
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    assert [(row["phase"], int(row["env_steps"])) for row in rows] == [
        ("evaluation", 200),
        ("evaluation", 300),
        ("final", 350),
    ]
    assert all(-2000 < float(row["return"]) < 0 for row in rows)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["final_evaluation_mean"] == float(rows[-1]["return"])
    assert summary["env_steps"] == 350


@pytest.mark.parametrize("agent", ["ppo", "trpo"])
def test_on_policy_agents_of_theirs_take_whole_segments(agent: str, tmp_path: Path) -> None:
    run("sb3.py", "--agent", agent, "--steps", 3000, "--evaluate-every", 2048, "--out", tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [(row["phase"], row["env_steps"]) for row in rows] == [("evaluation", "2048"), ("final", "4096")]


# --- benchmarks/pace.py -----------------------------------------------------------------------------------------------


def test_paces_beside_theirs() -> None:
    names = ["sb3-td3", "sbx-td3", "sbx-sac", "td3"]
    lines = run("pace.py", "--agent", *names, "--rounds", 1, "--block", 2, "--threads", 1).splitlines()
    assert "of sb3-td3's" in lines[0]
    assert [line.split("|")[1].strip() for line in lines[2:]] == names


def parameters(modules: dict[str, Any]) -> dict[str, int]:
    return {name: sum(tensor.numel() for tensor in module.parameters()) for name, module in modules.items()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow Probability's use of JAX
@pytest.mark.parametrize("agent", ["td3", "sac"])
def test_all_have_networks_of_one_size_and_one_batch(agent: str) -> None:
    """Pendulum: 3 observations, 1 action. SAC's policy has a spread for each mean."""
    import jax

    env: Any = gymnasium.make("Pendulum-v1")
    hidden = 256 * 256 + 256
    policy = (3 + 1) * 256 + hidden + (256 + 1) * (2 if agent == "sac" else 1)
    expected = {"policy": policy, "critics": 2 * ((4 + 1) * 256 + hidden + 256 + 1)}

    nets: Any = Agent(AGENTS[agent](), 3, env.action_space, seed=0).nets
    assert parameters({"policy": nets.policy, "critics": nets.critics}) == expected
    sb3 = model_for(agent, env, 0, 10, "sb3", 32)
    assert parameters({"policy": sb3.actor, "critics": sb3.critic}) == expected
    sbx = model_for(agent, env, 0, 10, "sbx", 32)
    states = {"policy": sbx.policy.actor_state, "critics": sbx.policy.qf_state}
    assert {name: sum(x.size for x in jax.tree.leaves(state.params)) for name, state in states.items()} == expected
    assert (sb3.batch_size, sbx.batch_size) == (32, 32)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("library", ["sb3", "sbx"])
def test_their_settings_are_ours(library: str) -> None:
    env = gymnasium.make("Pendulum-v1")
    td3, sac = (model_for(agent, env, 0, 10, library) for agent in ("td3", "sac"))
    for ours, theirs in ((TD3(), td3), (SAC(), sac)):
        policy, value = ours.network.policy_optimizer.rate, ours.network.value_optimizer.rate
        assert {theirs.learning_rate, getattr(theirs, "qf_learning_rate", value)} == {policy} == {value}
        assert (theirs.batch_size, theirs.tau, theirs.gamma) == (ours.batch, ours.tau, ours.discount)
        assert (theirs.train_freq.frequency, theirs.gradient_steps, theirs.learning_starts) == (1, 1, 10)
    assert (td3.policy_delay, td3.target_policy_noise, td3.target_noise_clip) == (2, 0.2, 0.5)
    assert (TD3().policy_every, TD3().policy_noise, TD3().noise_clip) == (2, 0.2, 0.5)
    assert td3.action_noise._sigma.tolist() == [TD3().exploration_noise]
    assert (SAC().policy_every, getattr(sac, "policy_delay", 1)) == (1, 1)
    assert sac.target_entropy == -1


WATCHED = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import pace
from elites.runs.bench.measures import keep_to
said = keep_to(1)
import jax
compiled = []
jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: compiled.append(name))
count = lambda: sum(name == "/jax/core/compile/backend_compile_duration" for name in compiled)
side = pace.side(sys.argv[2], "Pendulum-v1", 16)
counts = [count()]
for _ in range(4):
    side.learn(1)
    side.play(1)
    counts.append(count())
tasks = os.listdir("/proc/self/task")
print(json.dumps([said, counts, [sorted(os.sched_getaffinity(int(task))) for task in tasks], side.model._n_updates]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot be kept to a core")
@pytest.mark.parametrize("name", ["sbx-td3", "sbx-sac"])
def test_jax_keeps_to_the_cores_and_compiles_before_the_clock_runs(name: str) -> None:
    """Its own threads, too; and with blocks of a single step, of which every second one has an update of the policy."""
    command = [sys.executable, "-c", WATCHED, str(ROOT / "benchmarks"), name]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    said, (made, warm, *later), cores, updates = json.loads(answer)
    assert 0 < made <= warm  # an action that does not explore may be asked for first in the round that warms up
    assert later == [warm] * 3
    (core,) = {tuple(of_a_thread) for of_a_thread in cores}
    assert said == f"1 thread on core {core[0]}"
    assert len(core) == 1
    assert updates == 8
