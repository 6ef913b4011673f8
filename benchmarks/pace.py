"""What a thousand steps cost, of learning and of acting alone; of HalfCheetah an episode: Table 1 of the CGP paper.

    python benchmarks/pace.py --env HalfCheetah-v5
    .venv-mbrl/bin/python benchmarks/pace.py            # with Stable-Baselines3; `make .venv-mbrl/peers` installs it
    python benchmarks/pace.py --agent td3 cgp cgp-4 cgp-float32

All take a block of steps in turn, again and again, so what else the machine does hits all alike; the ratios are
medians of those of each round. A step of learning is one of the environment and an update. NAME-4 searches with four
iterations, NAME-float32 in numbers of 32 bits throughout, sb3-NAME is Stable-Baselines3's.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from elites import cli
from elites.agents import AGENTS, Agent, Algorithm, Transition
from elites.agents.searched import PI_CEM, Searched
from elites.envs import sizes
from elites.runs.bench.sb3 import model_for
from elites.runs.environments import make

THEIRS = ["sb3-td3", "sb3-sac"]
OURS = ["td3", "ddpg", "sac", "qt_opt", "qt_opt-4", "qgp", "cgp", "cgp-4", "cgp-float32"]
WARM = 1000  # steps at random before


class Side(ABC):
    """One that learns, and one that acts, in environments of their own."""

    @abstractmethod
    def learn(self, steps: int) -> None: ...

    @abstractmethod
    def action(self, observation: Any) -> Any:
        """The best one."""

    def __init__(self, env: str) -> None:
        self.env, self.stage = (make(env) for _ in range(2))
        self.observation, _ = self.env.reset(seed=0)
        self.seen, _ = self.stage.reset(seed=0)

    def play(self, steps: int) -> None:
        for _ in range(steps):
            self.seen, _, terminated, truncated, _ = self.stage.step(self.action(self.seen))
            if terminated or truncated:
                self.seen, _ = self.stage.reset()


class Ours(Side):
    """What the loop of examples/cgp.py makes of a step, without its bookkeeping: progress, checks, checkpoints."""

    def __init__(self, algorithm: Algorithm, env: str) -> None:
        super().__init__(env)
        self.agent = Agent(algorithm, sizes(self.env)[0], self.env.action_space, seed=0)
        for _ in range(WARM):
            self.step(self.agent.act_at_random(1)[0])

    def step(self, action: Any) -> None:
        following, reward, terminated, truncated, _ = self.env.step(action)
        before, self.observation = self.observation, following
        self.agent.observe(Transition.one(before, action, float(reward), following, terminated, truncated))
        if terminated or truncated:
            self.observation, _ = self.env.reset()

    def learn(self, steps: int) -> None:
        for _ in range(steps):
            self.step(self.agent.act(self.observation))
            self.agent.update()

    def action(self, observation: Any) -> Any:
        return self.agent.act(observation, explore=False)


class Theirs(Side):
    def __init__(self, agent: str, env: str) -> None:
        super().__init__(env)
        self.model = model_for(agent, self.env, 0, WARM)
        self.model.learn(WARM)

    def learn(self, steps: int) -> None:
        self.model.learn(steps, reset_num_timesteps=False)

    def action(self, observation: Any) -> Any:
        return self.model.predict(observation, deterministic=True)[0]


def side(name: str, env: str) -> Side:
    kind, *rest = name.split("-")
    if kind == "sb3":
        return Theirs(rest[0], env)
    algorithm: Any = AGENTS[kind]()
    if rest and not isinstance(algorithm, Searched):
        raise ValueError(f"--agent: {kind} does not search, so there is no {name}")
    for what in rest:
        change = {"sampling": what} if what == "float32" else {"search": replace(PI_CEM, iterations=int(what))}
        algorithm = replace(algorithm, **change)
    return Ours(algorithm, env)


def main() -> None:
    known = [*THEIRS, *OURS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--agent", nargs="+", choices=known, metavar="NAME", help=f"some of {', '.join(known)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--block", type=int, default=80, help="steps in a row")
    args = parser.parse_args()
    if args.rounds < 1 or args.block < 1:
        raise ValueError(f"--rounds, --block: expected at least 1, got {args.rounds} and {args.block}")
    screen, installed = cli.Screen(), importlib.util.find_spec("stable_baselines3")
    sides = {name: side(name, args.env) for name in args.agent or ([*THEIRS, *OURS] if installed else OURS)}
    costs: dict[str, list[tuple[float, float]]] = defaultdict(list)  # seconds a step: of learning, of acting
    for number in range(args.rounds + 1):
        for name, one in sides.items():
            screen.status(f"round {number}/{args.rounds}  {name}")
            times = [time.perf_counter()]
            for work in (one.learn, one.play):
                work(args.block)
                times.append(time.perf_counter())
            if number:  # the first warms up
                costs[name].append((float(np.diff(times)[0]) / args.block, float(np.diff(times)[1]) / args.block))
    screen.line(f"{args.env}, {torch.get_num_threads()} threads, {args.rounds} rounds of {args.block} steps each")
    first = next(iter(sides))
    print(f"| | learning, steps/s | of {first}'s | 1000 steps of learning | 1000 steps of acting |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, found in costs.items():
        learning, acting = np.median(found, axis=0)
        ratio = np.median([a[0] / b[0] for a, b in zip(costs[first], found, strict=True)])
        print(f"| {name} | {1 / learning:.0f} | {ratio:.2f} | {1000 * learning:.1f} s | {1000 * acting:.2f} s |")


if __name__ == "__main__":
    cli.run(main)
