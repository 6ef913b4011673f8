"""Data sets for models: transitions of a few environments, with random actions or with a half-trained agent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Generator, Tensor

from elites.agents import MPC, TD3
from elites.dynamics import FunctionDynamics, Return
from elites.envs import Task, task_of
from elites.planners import CEM
from elites.runs.environments import episode_seed, make
from elites.runs.files import replace
from elites.runs.learn import LearnSettings
from elites.runs.load import load as load_agent
from elites.runs.train import train
from elites.spaces import Space

TRAINING, HELD_OUT = 3000, 1500  # transitions; held-out episodes are whole, so there can be more
NAMES = ("state", "action", "next_state", "episode")


@dataclass(frozen=True)
class Source:
    """The source of transitions. half: steps after which TD3 is half trained; 0 uses a noisy planner instead."""

    env: str
    episode_steps: int
    half: int


SOURCES = {
    "swingup": Source("elites/CartpoleSwingup-v0", 60, 0),
    "pusher": Source("elites/Pusher-v0", 150, 12_000),
    "halfcheetah": Source("elites/HalfCheetah-v0", 250, 40_000),
    "hopper": Source("Hopper-v5", 250, 20_000),
    "walker2d": Source("Walker2d-v5", 250, 20_000),
}
POLICIES = ("random", "half")
Act = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Episode:
    state: Tensor  # (T, S)
    action: Tensor  # (T, A)
    next_state: Tensor  # (T, S)


@dataclass(frozen=True)
class DataSet:
    """Transitions (n, ·) for training, in the order of collection, and whole episodes for tests."""

    name: str
    task: Task
    training: Episode
    held_out: list[Episode]


def data_set(source: str, policy: str, folder: Path, status: Callable[[str], None] = lambda text: None) -> DataSet:
    """Reads a data set from the folder. If it is not there, collects and saves it."""
    at, path = SOURCES[source], folder / f"{source}-{policy}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        status(f"{source}, {policy}: acting")
        replace(path, save(_collected(at, policy, folder, status)))
    columns = load(path.read_bytes())
    *rows, number = (columns[name] for name in NAMES)
    last = number[TRAINING]
    held = [Episode(*(x[number == n] for x in rows)) for n in range(int(last) + 1, int(number[-1]) + 1)]
    env = make(at.env)
    return DataSet(f"{source}-{policy}", task_of(env), Episode(*(x[:TRAINING] for x in rows)), held)


def _collected(at: Source, policy: str, folder: Path, status: Callable[[str], None]) -> dict[str, Tensor]:
    """Columns of whole episodes: TRAINING transitions, the rest of their last episode, then HELD_OUT or more."""
    env = make(at.env, at.episode_steps)
    learned, space = task_of(env).learned_reward, Space.of(env.action_space)
    rng = Generator().manual_seed(0)
    act = None
    if policy == "half":
        act = _half_trained(at, folder, status) if at.half else _planner(at, space)
    rows: list[tuple[Tensor, ...]] = []
    episode, held_from = 0, -1
    while held_from < 0 or len(rows) < held_from + HELD_OUT:
        if held_from < 0 and len(rows) > TRAINING:
            held_from = len(rows)
        state = torch.as_tensor(env.reset(seed=episode_seed(1, episode))[0], dtype=torch.float32)
        done, nothing = False, torch.zeros(int(learned))
        while not done:
            action = space.uniform(1, rng)[0] if act is None else act(state)
            observation, reward, terminated, truncated, _ = env.step(space.to_env(action).numpy())
            following = torch.as_tensor(observation, dtype=torch.float32)
            paid = torch.tensor([float(reward)] * int(learned))
            columns = (torch.cat([state, nothing]), action, torch.cat([following, paid]), torch.tensor(episode))
            rows.append(columns)
            state, done = following, terminated or truncated
        episode += 1
    return {name: torch.stack(column) for name, column in zip(NAMES, zip(*rows, strict=True), strict=True)}


def _planner(at: Source, space: Space) -> Act:
    """CEM through the known dynamics, with noise."""
    task, rng = task_of(make(at.env)), Generator().manual_seed(0)
    assert task.dynamics
    returns = Return(FunctionDynamics(task.dynamics), task.reward, task.terminated)
    mpc = MPC(CEM(samples=64, elites=8, iterations=3), 25, returns, space, seed=0)

    def act(state: Tensor) -> Tensor:
        noise = 0.3 * torch.randn(space.shape, generator=rng)
        return (torch.as_tensor(mpc(state), dtype=torch.float32) + noise).clamp(-1, 1)

    return act


def _half_trained(at: Source, folder: Path, status: Callable[[str], None]) -> Act:
    """TD3 after `half` steps, with its noise."""
    run = folder / f"td3-{at.env.rpartition('/')[2]}"
    if not (run / "summary.json").exists():
        status(f"{at.env}: TD3 learns for {at.half} steps")
        settings = LearnSettings(env=at.env, agent=TD3(), steps=at.half, evaluation_episodes=0)
        train(settings, run, resume=run.exists())
    agent = load_agent(run)
    return lambda state: torch.as_tensor(agent.act(state.numpy()), dtype=torch.float32)
