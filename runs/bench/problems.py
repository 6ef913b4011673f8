"""The problems of benchmarks/search.py: bowls, Q-functions, true dynamics and trained models.

Every problem has several instances and stages. Stage 0 is planned cold, the later ones are planned warm. In a task, the
state moves along a given trajectory; a bowl's optimum moves a little. The problems of `ASIDE` had no part in the design
of a planner. Models and Q-functions are learned once and kept in outputs/search.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Generator, Tensor

from elites.dynamics import EnsembleConfig, MujocoDynamics, ProbabilisticEnsemble, Return, Training
from elites.dynamics.dynamics import Dynamics
from elites.envs import TASKS
from elites.envs.reach import Arm
from elites.networks import Architecture
from elites.planners import MPPI, Objective, Plan, shift
from elites.runs.load import load
from elites.spaces import Box, Space

STAGES = 4  # one cold, three warm
FOLDER = Path("outputs/search")  # of the runs whose Q-functions are searched


@dataclass(frozen=True, eq=False)
class Instances:
    """at: some of the instances -> their objectives (B, N, *E) -> (B, N), one for each stage.

    moves: whether a plan moves forward in time from stage to stage.
    """

    space: Space
    at: Callable[[slice], Sequence[Objective]]
    count: int
    moves: bool
    gradient: bool = True

    def next(self, plan: Plan) -> Plan:
        """The warm start of the next stage."""
        return shift(plan, 1, "repeat", self.space) if self.moves else plan


# --- bowls: 12 steps of 2 numbers, rotated, so that time and numbers mean nothing -------------------------------------

SHAPE = (12, 2)
DIMENSIONS = math.prod(SHAPE)


def bowl(function: Callable[[Tensor], Tensor], stretch: float, count: int = 20) -> Instances:
    """f(stretch · Q (x - x*)), with its own rotation Q and optimum x* of every instance."""
    rng = Generator().manual_seed(0)
    rotation, _ = torch.linalg.qr(torch.randn(count, DIMENSIONS, DIMENSIONS, generator=rng, dtype=torch.float64))
    rotation = rotation.float()
    moves = 0.05 * torch.randn(STAGES, count, 1, DIMENSIONS, generator=rng)
    optima = (torch.rand(count, 1, DIMENSIONS, generator=rng) - 0.5 + moves.cumsum(0)).clamp(-0.9, 0.9)

    def at(rows: slice) -> list[Objective]:
        return [partial(_turned, function, stretch, rotation[rows], optimum[rows]) for optimum in optima]

    return Instances(Box(-torch.ones(SHAPE), torch.ones(SHAPE)), at, count, moves=False)


def _turned(function: Callable[[Tensor], Tensor], stretch: float, turn: Tensor, optimum: Tensor, x: Tensor) -> Tensor:
    return function(stretch * (x.flatten(-2) - optimum) @ turn)


def rosenbrock(z: Tensor) -> Tensor:
    y = z + 1
    return -(100 * (y[..., 1:] - y[..., :-1].square()).square() + (1 - y[..., :-1]).square()).sum(-1)


def rastrigin(z: Tensor) -> Tensor:
    return -(z.square() + 10 - 10 * torch.cos(2 * math.pi * z)).sum(-1)


def ellipsoid(z: Tensor) -> Tensor:
    """A bowl a thousand times as steep in one direction as in another."""
    return -(z.square() * 10 ** (3 * torch.linspace(0, 1, DIMENSIONS))).sum(-1)


def ackley(z: Tensor) -> Tensor:
    first = -20 * torch.exp(-0.2 * z.square().mean(-1).sqrt())
    return -(first - torch.exp(torch.cos(2 * math.pi * z).mean(-1)) + 20 + math.e)


# --- tasks ------------------------------------------------------------------------------------------------------------


def along(returns: Return, actions: Space, horizon: int, state: Tensor, step: Any, gradient: bool = True) -> Instances:
    """Stages along a trajectory: every action is the first of a plan by MPPI. step: (state, action) -> the next."""
    space, rng, states = actions.repeat(horizon), Generator().manual_seed(0), [state]
    plan: Plan | None = None
    for stage in range(STAGES - 1):
        start = shift(plan, 1, "repeat", space) if plan else None
        objective = returns.at(state, Generator().manual_seed(stage))
        plan = MPPI(samples=60).plan(objective, space, start, batch=(len(state),), rng=rng)
        state = step(state, plan.best[:, 0])
        states.append(state)

    def at(rows: slice) -> list[Objective]:
        return [returns.at(state[rows], Generator().manual_seed(stage)) for stage, state in enumerate(states)]

    return Instances(space, at, len(state), moves=True, gradient=gradient)


def starts(env: str, count: int, seed: int = 0) -> Tensor:
    """First observations of episodes."""
    one = gymnasium.make(env)
    return torch.tensor(np.stack([one.reset(seed=seed + i)[0] for i in range(count)]), dtype=torch.float32)


def known(env: str) -> Return:
    """The returns of a task of this package, with its true dynamics."""
    of = TASKS[env]
    assert of.dynamics
    return Return(of.dynamics, of.reward, of.terminated, particles=1)


def task(env: str, horizon: int, count: int = 20) -> Instances:
    space = Space.of(gymnasium.make(env).action_space, dtype=torch.float32)
    dynamics = TASKS[env].dynamics
    return along(known(env), space, horizon, starts(env, count), dynamics, gradient=isinstance(space, Box))


def swung(state: Tensor, action: Tensor) -> Tensor:
    """(cos θ, sin θ, θ̇) and a torque in [-2, 2], as in Pendulum-v1."""
    cos, sin, turning = state.unbind(1)
    turning = (turning + (15 * sin + 3 * action[:, 0]) * 0.05).clamp(-8, 8)
    angle = torch.atan2(sin, cos) + 0.05 * turning
    return torch.stack([angle.cos(), angle.sin(), turning], 1)


def upright(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """Pendulum-v1's reward."""
    angle = torch.atan2(state[:, 1], state[:, 0])
    return -(angle.square() + 0.1 * state[:, 2].square() + 0.001 * action[:, 0].square())


PENDULUM = Return(swung, upright, particles=1)


def pendulum(count: int = 20) -> Instances:
    return along(PENDULUM, Box([-2.0], [2.0]), 30, starts("Pendulum-v1", count), swung)


def tracking(count: int = 20) -> Instances:
    """A point with inertia follows a circle: a bowl whose numbers are coupled in time."""

    def dynamics(state: Tensor, action: Tensor) -> Tensor:
        place, speed, clock = state[:, :2], state[:, 2:4] + 0.1 * action, state[:, 4:] + 0.1
        return torch.cat([place + 0.1 * speed, speed, clock], 1)

    def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        goal = torch.cat([next_state[:, 4:].cos(), next_state[:, 4:].sin()], 1)
        return -(next_state[:, :2] - goal).square().sum(1) - 0.01 * action.square().sum(1)

    state = torch.randn(count, 5, generator=Generator().manual_seed(0))
    return along(Return(dynamics, reward, particles=1), Box([-1.0] * 2, [1.0] * 2), 30, state, dynamics)


class ArmDynamics(Dynamics[None]):
    """The arm of CEM-AH, whose places are whole pixels: steps without a slope."""

    deterministic, differentiable = True, False

    def __init__(self) -> None:
        self.arm = Arm()

    def draw(self, particles: int, horizon: int, rng: Generator, candidates: tuple[int, ...] = ()) -> None:
        return None

    def rollout(self, state: Tensor, actions: Tensor, drawn: None = None) -> Tensor:
        turns = torch.deg2rad(actions.clamp(-1, 1)).cumsum(-2)  # (B, N, H, 2)
        return (state[:, None, None] + turns).unsqueeze(2)

    def near(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        distance = np.linalg.norm(self.arm.places(next_state.double().numpy())[1] - (369.0, 430.0), axis=-1)
        return torch.from_numpy(100 / (distance + 1)).float()


def reach(count: int = 20) -> Instances:
    dynamics = ArmDynamics()
    state = torch.rand(count, 2, generator=Generator().manual_seed(0))
    returns = Return(dynamics, dynamics.near, particles=1)
    following = lambda state, action: state + torch.deg2rad(action)  # noqa: E731
    return along(returns, Box([-1.0] * 2, [1.0] * 2), 40, state, following, gradient=False)


def simulated(env: str) -> Return:
    """The returns of a task in MuJoCo, with the simulator as its dynamics."""
    one: Any = gymnasium.make(env).unwrapped
    dynamics = MujocoDynamics(one.model, one.frame_skip, one.physics, one.observed, threads=1)
    return Return(dynamics, one.task.reward, particles=1)


@cache
def simulated_cheetah(count: int = 24) -> Instances:
    env = "elites/HalfCheetah-v0"
    returns, space = simulated(env), Space.of(gymnasium.make(env).action_space, dtype=torch.float32)
    dynamics = returns.dynamics
    assert isinstance(dynamics, MujocoDynamics)

    def step(state: Tensor, action: Tensor) -> Tensor:
        return dynamics.rollout(state, action[:, None, None])[:, 0, 0, 0]

    return along(returns, space, 15, starts(env, count), step, gradient=False)


# --- trained models and Q-functions -----------------------------------------------------------------------------------


def model(env: str, horizon: int, transitions: int, count: int = 10) -> Instances:
    """An ensemble that learned from smooth random play. Five particles pass through five networks."""
    of, one, rng = TASKS[env], gymnasium.make(env), np.random.default_rng(0)
    space: Any = one.action_space
    rows: list[tuple[Any, Any, Any]] = []
    seed = 0
    while len(rows) < transitions:
        observation, ended, push = one.reset(seed=seed)[0], False, np.zeros(space.shape)
        seed += 1
        while not ended and len(rows) < transitions:
            push = 0.8 * push + 0.6 * rng.normal(size=space.shape)
            action = np.clip(push, space.low, space.high).astype(np.float32)
            following, _, terminated, truncated, _ = one.step(action)
            rows.append((observation, action, following))
            observation, ended = following, terminated or truncated
    state, action, next_state = (torch.tensor(np.stack(x), dtype=torch.float32) for x in zip(*rows, strict=True))
    drawn = Generator().manual_seed(0)
    config = EnsembleConfig(architecture=Architecture((64, 64, 64), "silu", normalise_inputs=True, layer_norm="all"))
    learned = ProbabilisticEnsemble(
        state.shape[1], action.shape[1], config, encode=of.encode, absolute=of.absolute, angles=of.angles, rng=drawn
    )
    kept = FOLDER / f"{Path(env).name}-model.pt"
    if not kept.exists():
        Training(epochs=30).fit(learned, state, action, next_state, drawn)
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(learned.state_dict(), kept)
    learned.load_state_dict(torch.load(kept, weights_only=True))
    returns = Return(learned, of.reward, of.terminated, particles=5)

    def step(state: Tensor, action: Tensor) -> Tensor:
        noise = learned.draw(5, 1, Generator().manual_seed(0))
        return learned.rollout(state, action[:, None, None], noise)[:, 0, 0, 0].detach()

    first = state[torch.randperm(transitions, generator=Generator().manual_seed(1))[:count]]
    return along(returns, Space.of(space, dtype=torch.float32), horizon, first, step)


def values(env: str, steps: int, count: int = 20) -> Instances:
    """A Q-function that TD3 learned. Its states are those of the run; the next stage has the next state."""
    folder = FOLDER / f"{env}-td3"
    if not (folder / "summary.json").exists():
        command = [sys.executable, "-m", "elites", "learn", "--env", env, "--agent", "td3", "--out", str(folder)]
        command += ["--quiet", "--set", f"steps={steps}", "--set", f"evaluate_every={steps}"]
        subprocess.run(command, check=True)
    agent: Any = load(folder)
    rows = agent.replay.column("state")
    first = torch.linspace(steps // 2, len(rows) - STAGES - 1, count).long()

    def at(chosen: slice) -> list[Objective]:
        return [agent.nets.critics.at(rows[first[chosen] + stage]) for stage in range(STAGES)]

    unit = torch.ones(agent.spaces.action_size)
    return Instances(Box(-unit, unit), at, count, moves=False)


DESIGN: dict[str, Callable[[], Instances]] = {
    "swing-up": lambda: task("elites/CartpoleSwingup-v0", 45),
    "Pendulum": pendulum,
    "Rosenbrock": lambda: bowl(rosenbrock, 1.2),
    "Rastrigin": lambda: bowl(rastrigin, 1.0),
    "ellipsoid": lambda: bowl(ellipsoid, 1.0),
    "HalfCheetah, simulator": simulated_cheetah,
    "swing-up, model": lambda: model("elites/CartpoleSwingup-v0", 25, 600),
    "HalfCheetah, Q": lambda: values("HalfCheetah-v5", 15_000),
}
ASIDE: dict[str, Callable[[], Instances]] = {
    "barrier": lambda: task("elites/Barrier-v0", 40),
    "CartPole, choices": lambda: task("CartPole-v1", 60),
    "arm": reach,
    "tracking": tracking,
    "Ackley": lambda: bowl(ackley, 4.0),
    "HalfCheetah, model": lambda: model("elites/HalfCheetah-v0", 15, 2_000),
    "Ant, Q": lambda: values("Ant-v5", 15_000),
}
PROBLEMS = {name: cache(make) for name, make in (DESIGN | ASIDE).items()}


def posed(name: str, budget: int) -> Instances:
    """A problem for plans of this many evaluations. The simulator is slow: large plans have fewer instances there."""
    return simulated_cheetah(8) if name == "HalfCheetah, simulator" and budget > 500 else PROBLEMS[name]()
