"""How fast the physics itself diverges: replays a run's actions from slightly disturbed states.

    python benchmarks/divergence.py outputs/HalfCheetah-v0-cem_gd-31

Every 45th state of a run's last episodes is a start. From there the recorded actions are taken again, open loop: in the
simulator from the exact state and from disturbed states, and in the run's model. A disturbance is normal, in units of
the spread of one step's changes. The error is of the first entry, HalfCheetah's speed, in the mean of the copies: its
mean size over the mean size of the truth. A model cannot predict better than the simulator from a state with the error
of the model's first step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Generator, Tensor

from elites import cli
from elites.agents import PETS
from elites.dynamics import MujocoDynamics
from elites.envs.mujoco import TranslatedTask
from elites.runs.load import load_pets

DISTURBANCES = (0.0, 1e-3, 1e-2, 3e-2, 0.1)
Rolled = Callable[[Tensor, Tensor], Tensor]  # states (B, S), actions (B, H, A) -> states (B, C, S) after H steps


def windows(agent: PETS, episodes: int, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """First states (B, S), actions (B, H, A) and last states (B, S) of the last episodes, in windows of H steps."""
    first, action, following = (agent.replay.column(name) for name in ("state", "action", "next_state"))
    time = agent.replay.column("time")
    begin = int((time == 0).nonzero()[-episodes])
    starts = [i for i in range(begin, len(first) - steps + 1) if int(time[i]) % steps == 0]
    whole = [i for i in starts if int(time[i + steps - 1]) == int(time[i]) + steps - 1]
    actions = torch.stack([action[i : i + steps] for i in whole])
    return first[whole], actions, following[[i + steps - 1 for i in whole]]


def simulated(dynamics: MujocoDynamics, spread: Tensor, size: float, copies: int) -> Rolled:
    """The simulator, from states disturbed by `size` times `spread` (S)."""

    def rolled(first: Tensor, actions: Tensor) -> Tensor:
        rng = Generator().manual_seed(0)
        disturbed = first.unsqueeze(1) + size * spread * torch.randn(len(first), copies, len(spread), generator=rng)
        again = actions.repeat_interleave(copies, 0).unsqueeze(1)
        found = dynamics.rollout(disturbed.flatten(0, 1).double(), again.double())
        return found[:, 0, 0, -1].view(disturbed.shape).float()

    return rolled


def modelled(agent: PETS, copies: int) -> Rolled:
    def rolled(first: Tensor, actions: Tensor) -> Tensor:
        noise = agent.model.draw(copies, actions.shape[1], Generator().manual_seed(0))
        with torch.no_grad():
            return agent.model.rollout(first, actions.unsqueeze(1), noise)[:, 0, :, -1]

    return rolled


def rows(agent: PETS, dynamics: MujocoDynamics, copies: int) -> Iterator[tuple[str, Rolled]]:
    spread = (agent.replay.column("next_state") - agent.replay.column("state")).std(0)
    for size in DISTURBANCES:
        yield f"simulator, disturbed by {size:g}", simulated(dynamics, spread, size, copies)
    yield "the run's model", modelled(agent, copies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run of `elites pets` on a MuJoCo environment")
    parser.add_argument("--episodes", type=int, default=3, help="number of last episodes")
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 15, 30, 45], help="steps of an open loop")
    parser.add_argument("--copies", type=int, default=20, help="number of disturbed states, or of particles")
    args = parser.parse_args()
    agent, settings = load_pets(args.run)
    env = settings.make_environment().unwrapped
    if not isinstance(env, TranslatedTask):
        raise ValueError(f"{args.run}: expected observations that a simulator can start from, got {settings.env}'s")
    dynamics = MujocoDynamics(env.model, env.frame_skip, env.physics, env.observed)
    print(f"| error of the speed after | {' | '.join(f'{steps} steps' for steps in args.steps)} |")
    print(f"| --- |{' ---: |' * len(args.steps)}")
    parts = [windows(agent, args.episodes, steps) for steps in args.steps]
    for name, rolled in rows(agent, dynamics, args.copies):
        errors = []
        for first, actions, truth in parts:
            speed, true = rolled(first, actions).mean(1)[:, 0], truth[:, 0]
            errors.append((speed - true).abs().mean().item() / true.abs().mean().item())
        print(f"| {name} | {' | '.join(f'{100 * error:.0f} %' for error in errors)} |")


if __name__ == "__main__":
    cli.run(main)
