"""Every environment against Gymnasium's checker, and its torch functions against the environment and other versions."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.utils.env_checker import check_env
from torch import Tensor

from elites import Box
from elites.agents import MPC
from elites.dynamics import Return
from elites.envs import TASKS, Task, cartpole, mujoco
from elites.planners import CEM, CEMGD, GradientAscent, Plan

IDS = [name for name in TASKS if name.startswith("elites/")]
MUJOCO = ["elites/HalfCheetah-v0", "elites/Pusher-v0", "elites/HumanoidStandup-v0"]
SIZES = dict(zip(IDS, [(4, 1), (18, 6), (20, 7), (45, 17), (2, 2)], strict=True))
ADVICE = [  # Gymnasium's checker warns of observations without bounds and actions beyond 1
    "ignore:.*A Box observation space m.*imum value is.*",
    "ignore:.*we recommend using a symmetric and normalized space.*",
]


def episode(name: str, steps: int = 40, seed: int = 0) -> tuple[Any, list[Tensor], np.ndarray[Any, Any], list[bool]]:
    """The environment, rows of (state, action, next_state), rewards, and which steps terminated."""
    env = gymnasium.make(name)
    env.action_space.seed(seed)
    state, _ = env.reset(seed=seed)
    rows, rewards, ends = [], [], []
    for _ in range(steps):
        action = env.action_space.sample()
        following, reward, terminated, _, _ = env.step(action)
        rows.append((state, action, following))
        rewards.append(reward)
        ends.append(terminated)
        state = following
        if terminated:
            break
    columns = [torch.from_numpy(np.array(column, np.float64)) for column in zip(*rows, strict=True)]
    return env, columns, np.array(rewards), ends


@pytest.mark.parametrize("name", IDS)
def test_nothing_waits_for_the_device(name: str) -> None:
    """On the meta device a tensor has a shape and no value: asking for one raises."""
    task, (size, actions) = TASKS[name], SIZES[name]
    state, action = torch.zeros(7, size, device="meta"), torch.zeros(7, actions, device="meta")
    assert task.reward(state, action, state).shape == (7,)
    if task.terminated:
        assert task.terminated(state, action, state).shape == (7,)
    if task.encode:
        assert len(task.encode(state)) == 7


@pytest.fixture(params=IDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def task(name: str) -> Task:
    return TASKS[name]


# --- every environment ------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings(*ADVICE)
def test_gymnasiums_checker(name: str) -> None:
    env = gymnasium.make(name, disable_env_checker=True).unwrapped
    check_env(env, skip_render_check=True)
    assert (env.observation_space.shape, env.action_space.shape) == tuple((size,) for size in SIZES[name])  # type: ignore[comparison-overlap]


def test_functions_are_the_environments_own(name: str, task: Task) -> None:
    _, rows, rewards, ends = episode(name)
    assert torch.allclose(task.reward(*rows), torch.from_numpy(rewards))
    terminated = task.terminated(*rows) if task.terminated else torch.zeros(len(ends), dtype=torch.bool)
    assert terminated.tolist() == ends
    if task.dynamics:
        assert torch.allclose(task.dynamics(rows[0], rows[1]), rows[2])


def test_functions_keep_the_dtype_and_have_a_gradient(name: str, task: Task) -> None:
    _, rows, _, _ = episode(name, steps=5)
    state, action, following = (x.float().requires_grad_() for x in rows)
    reward = task.reward(state, action, following)
    assert reward.dtype == torch.float32
    assert reward.shape == (len(state),)
    reward.sum().backward()
    assert following.grad is not None
    assert following.grad.isfinite().all()
    if task.encode:
        features = task.encode(state)
        assert features.dtype == torch.float32
        assert features.ndim == 2


def test_equal_seeds_equal_episodes_and_no_others(name: str) -> None:
    rows = [episode(name, steps=5, seed=seed)[1][2] for seed in (0, 0, 1)]
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])
    env = gymnasium.make(name)
    first, second = env.reset(seed=3)[0], env.reset()[0]
    assert not np.array_equal(first, second), "the same seed at every reset"


def test_an_episode_ends_by_truncation(name: str) -> None:
    env = gymnasium.make(name)
    assert env.spec is not None
    steps = {"elites/CartpoleSwingup-v0": 60, "elites/Pusher-v0": 150, "elites/Barrier-v0": 60}
    assert env.spec.max_episode_steps == steps.get(name, 1000)


def test_features_do_not_jump_where_an_angle_does(name: str, task: Task) -> None:
    _, (states, _, _), _, _ = episode(name, steps=5)
    for entry in task.angles:
        turned = states.clone()
        turned[:, entry] += 2 * math.pi
        assert task.encode is not None
        assert torch.allclose(task.encode(states), task.encode(turned), atol=1e-6)


# --- against others' --------------------------------------------------------------------------------------------------


def test_cartpole_is_gymnasiums_with_other_constants() -> None:
    """Gymnasium's CartPole with changed constants and a hanging pole steps like ours."""
    theirs = CartPoleEnv()
    theirs.reset(seed=0)
    theirs.masspole, theirs.force_mag = cartpole.POLE, cartpole.FORCE
    theirs.total_mass, theirs.polemass_length = theirs.masscart + theirs.masspole, theirs.masspole * theirs.length
    theirs.theta_threshold_radians = math.inf
    source = np.random.default_rng(0)
    for _ in range(50):
        state = source.normal(0, [1, 1, 2, 3])
        state[2] %= 2 * math.pi
        push = int(source.integers(2))
        theirs.state, theirs.steps_beyond_terminated = tuple(state), None
        theirs.step(push)
        ours = cartpole.dynamics(torch.from_numpy(state)[None], torch.tensor([[2.0 * push - 1]]).double())[0]
        expected = np.array(theirs.state, np.float64)
        expected[2] %= 2 * math.pi
        assert np.allclose(ours.numpy(), expected)


def test_cartpole_reward_and_end() -> None:
    states = torch.tensor([[0, 0, 0, 0], [0, 0, math.pi, 0], [0, 0, math.pi / 2, 0], [2.2, 0, 0, 0], [-2.4, 0, 0, 0]])
    reward = cartpole.reward(states, states[:, :1], states)
    assert torch.allclose(reward, torch.tensor([1.0, 0.0, 0.5, 0.5, 0.018]), atol=1e-3)
    assert cartpole.terminated(states, states[:, :1], states).tolist() == [False, False, False, False, True]


def beside_gymnasiums(ours: str, theirs: str, **options: Any) -> tuple[Any, Any]:
    """Both in the same simulator state."""
    a, b = gymnasium.make(ours).unwrapped, gymnasium.make(theirs, **options).unwrapped
    a.reset(seed=0)
    b.reset(seed=0)
    b.set_state(a.data.qpos.copy(), a.data.qvel.copy())  # type: ignore[attr-defined]
    return a, b


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("elites/HalfCheetah-v0", "HalfCheetah-v5"),
        ("elites/HumanoidStandup-v0", "HumanoidStandup-v5"),
    ],
)
def test_mujoco_rewards_are_gymnasiums(ours: str, theirs: str) -> None:
    """The same simulator and states give the same rewards, except the humanoid's cost of impacts."""
    a, b = beside_gymnasiums(ours, theirs)
    a.action_space.seed(0)
    for _ in range(20):
        action = a.action_space.sample()
        _, reward, *_ = a.step(action)
        _, other, _, _, info = b.step(action)
        assert np.allclose(a.data.qpos, b.data.qpos)
        assert reward == pytest.approx(other - info.get("reward_impact", 0.0), rel=1e-6)


def test_cheetah_observation() -> None:
    env = gymnasium.make("elites/HalfCheetah-v0").unwrapped
    observation, _ = env.reset(seed=0)
    assert observation[0] == 0
    for _ in range(3):
        before = env.data.qpos[0]  # type: ignore[attr-defined]
        observation, *_ = env.step(np.ones(6, np.float32))
        assert observation[0] == pytest.approx((env.data.qpos[0] - before) / 0.05)  # type: ignore[attr-defined]
        assert np.array_equal(observation[1:], np.concatenate([env.data.qpos[1:], env.data.qvel]))  # type: ignore[attr-defined]
    features = TASKS["elites/HalfCheetah-v0"].encode(torch.from_numpy(observation)[None])  # type: ignore[misc]
    pitch = observation[2]
    expected = [observation[1], math.sin(pitch), math.cos(pitch), *observation[3:]]
    assert np.allclose(features.numpy(), [expected])


def test_pusher_is_where_the_simulator_says() -> None:
    env: Any = gymnasium.make("elites/Pusher-v0").unwrapped
    starts = np.array([env.reset(seed=seed)[0] for seed in range(200)])
    place = starts[:, 17:19] - env.get_body_com("goal")[:2]  # the object's position is relative to the goal
    assert place.std(0) == pytest.approx([0.025, 0.025], rel=0.2)
    assert env.data.qpos[-4:-2] == pytest.approx([-0.25, 0.15], abs=0.1)
    action = env.action_space.sample()
    observation, reward, *_ = env.step(action)
    tip, thing, goal = (env.get_body_com(body) for body in ("tips_arm", "object", "goal"))
    assert np.array_equal(observation, np.concatenate([env.data.qpos[:7], env.data.qvel[:7], tip, thing]))
    assert np.allclose(goal, mujoco.GOAL)
    near, far = np.abs(tip - thing).sum(), np.abs(thing - goal).sum()
    assert reward == pytest.approx(-0.5 * near - 1.25 * far - 0.1 * np.square(action).sum())


def test_humanoid_observation() -> None:
    env: Any = gymnasium.make("elites/HumanoidStandup-v0").unwrapped
    observation, _ = env.reset(seed=0)
    assert np.array_equal(observation, np.concatenate([env.data.qpos[2:], env.data.qvel]))
    assert env.model.opt.timestep == 0.003


def test_the_barrier_pushes_outwards_and_the_way_below_is_shorter() -> None:
    dynamics: Any = TASKS["elites/Barrier-v0"].dynamics
    still = torch.zeros(3, 2)
    points = torch.tensor([[0.1, 0.1], [0.0, 0.0], [0.0, 0.1]])
    moved = dynamics(points, still)
    assert moved[0, 0] > 0.1
    assert moved[1, 1] < 0  # the straight line is below the middle, so the disc pushes it down
    assert torch.allclose(moved[2], points[2])  # the exact middle has no force
    outside = torch.tensor([[0.0, -0.16], [0.0, 0.36], [-1.0, 0.0]])
    assert torch.equal(dynamics(outside, still), outside)


def test_each_way_round_the_barrier_is_a_local_optimum_and_the_one_below_is_better() -> None:
    task, states = TASKS["elites/Barrier-v0"], torch.tensor([[-1.0, 0.0], [-1.0, 0.0]])
    detours = torch.zeros(2, 45, 2)
    detours[:, :40, 0] = 0.05
    for detour, height in zip(detours, (0.37, -0.17), strict=True):
        detour[:10, 1], detour[25:35, 1] = height / 10, -height / 10
    actions, rng = Box(-0.05 * torch.ones(2), 0.05 * torch.ones(2)).repeat(45), torch.Generator().manual_seed(0)
    objective = Return(task.dynamics, task.reward).at(states, rng)  # type: ignore[arg-type]  # its dynamics are known
    ascent, starts = GradientAscent(steps=40, trials=20, step=0.001, starts=1), Plan.at(detours, (2,))
    plan = ascent.plan(objective, actions, starts, batch=(2,), rng=rng)
    for action in plan.best[:, :20].unbind(1):
        states = task.dynamics(states, action)  # type: ignore[misc]
    assert states[0, 1] > 0.3
    assert states[1, 1] < -0.1
    assert plan.value[1] > plan.value[0] + 1.0


# --- seen and solved --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in IDS if TASKS[name].dynamics])
def test_pictures(name: str) -> None:
    env = gymnasium.make(name, render_mode="rgb_array")
    env.reset(seed=0)
    first: Any = env.render()
    for _ in range(5):
        env.step(env.action_space.high)  # type: ignore[attr-defined]
    second: Any = env.render()
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert (first != second).any()
    with pytest.raises(ValueError, match="render_mode: expected rgb_array or None, got 'human'"):
        type(env.unwrapped)(render_mode="human")  # type: ignore[call-arg]


def test_a_step_before_the_first_reset_is_named() -> None:
    env = gymnasium.make("elites/Barrier-v0").unwrapped
    with pytest.raises(gymnasium.error.ResetNeeded, match="step: expected a call of reset first"):
        env.step(np.zeros(2))


@pytest.mark.parametrize(
    ("planner", "least"),
    [(CEM(), 45.0), pytest.param(CEMGD(), 44.0, marks=pytest.mark.slow)],
    ids=["cem", "cem_gd"],
)
def test_the_swing_up_with_the_true_dynamics(planner: Any, least: float) -> None:
    """Five episodes at once, planned with the task's own functions."""
    name, count = "elites/CartpoleSwingup-v0", 5
    task = TASKS[name]
    envs = gymnasium.make_vec(name, num_envs=count, vectorization_mode="sync")
    assert task.dynamics is not None
    space, terminated = envs.single_action_space, task.terminated
    mpc = MPC.of(
        planner, horizon=45, dynamics=task.dynamics, reward=task.reward, space=space, terminated=terminated, seed=0
    )
    states, _ = envs.reset(seed=0)
    returns = np.zeros(count)
    for _ in range(60):
        states, rewards, ended, _, _ = envs.step(mpc(states))
        returns += rewards
        assert not ended.any()
    assert returns.mean() >= least


FILM = """
import gymnasium, elites.envs
env = gymnasium.make({name!r}, render_mode="rgb_array")
env.reset(seed=0)
for place in (0.0, 20.0):
    position, velocity = env.unwrapped.data.qpos.copy(), env.unwrapped.data.qvel.copy()
    position[0] = place * {moves}
    env.unwrapped.set_state(position, velocity)
    picture = env.render().astype(int)
    coloured = (picture[..., 0] > picture[..., 2] + 40).sum()  # the bodies are brown, the object is red
    assert coloured > 200, (place, coloured)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", MUJOCO)
def test_mujoco_pictures(name: str) -> None:
    """The camera follows the body. In a separate process, which renders without a screen."""
    code = FILM.format(name=name, moves="Pusher" not in name)
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"MUJOCO_GL": "egl"}, check=True)
