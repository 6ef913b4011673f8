"""The time of a thousand steps of learning and of acting; for HalfCheetah, an episode: Table 1 of the CGP paper.

    python benchmarks/pace.py --env HalfCheetah-v5
    .venv-mbrl/bin/python benchmarks/pace.py            # with Stable-Baselines3 and SBX; `make .venv-mbrl/peers`
    python benchmarks/pace.py --agent td3 cgp cgp-4 cgp-float32 --batch 256 --threads 1
    python benchmarks/pace.py --env Pendulum-v1 --agent sac mpo ppo awr --own-pace --block 4096 --rounds 3 --threads 1

All agents take turns with a block of steps, many times, so other work on the machine slows all of them equally. A ratio
is the median over the rounds. A step of learning is a step of the environment and an update. NAME-4 searches with four
iterations. NAME-float32 uses only numbers of 32 bits. cgp-target imitates the target's search. sb3-NAME is
Stable-Baselines3's agent, sbx-NAME is SBX's, in JAX. With --own-pace, every agent has its own batch and number of
updates a step. Agents that learn in bursts need a block that holds some.

JAX has no setting for threads: its pool has a thread for each core, and Python runs beside it. So on Linux the process
is limited to --threads cores. "cores" is processor time over wall time.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from elites import cli
from elites.agents import AGENTS, Agent, Algorithm, Transition
from elites.agents.algorithms.searched import PI_CEM, Searched
from elites.envs import sizes
from elites.runs.bench.measures import keep_to
from elites.runs.bench.sb3 import LIBRARIES, model_for
from elites.runs.environments import make

THEIRS = ["sb3-td3", "sb3-sac", "sbx-td3", "sbx-sac"]
OURS = ["td3", "td3-float32", "ddpg", "sac", "sac-float32", "qt_opt", "qt_opt-4", "qgp"]
OURS += ["cgp", "cgp-4", "cgp-float32", "cgp-target"]
OTHERS = ["dspg", "mpo", "awac", "awr", "rwr", "bc", "vmpo", "ppo", "trpo", "reps", "urex", "power"]  # by name alone
WARM = 1000  # random steps before the measurement


class Side(ABC):
    """A contender: an agent that learns, and one that acts, each in its own environment."""

    @abstractmethod
    def learn(self, steps: int) -> None: ...

    @abstractmethod
    def action(self, observation: Any) -> Any:
        """The best action."""

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
    """A step of the loop of examples/cgp.py, without progress, checks and checkpoints."""

    def __init__(self, algorithm: Algorithm, env: str, own_pace: bool = False) -> None:
        super().__init__(env)
        self.own_pace = own_pace
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
            if self.own_pace:
                self.agent.improve(1)
            else:
                self.agent.update()

    def action(self, observation: Any) -> Any:
        return self.agent.act(observation, explore=False)


class Theirs(Side):
    def __init__(self, library: str, agent: str, env: str, batch: int) -> None:
        super().__init__(env)
        self.model = model_for(agent, self.env, 0, WARM, library, batch)
        self.model.learn(WARM + 4)  # JAX compiles TD3's updates, with and without the policy's

    def learn(self, steps: int) -> None:
        self.model.learn(steps, reset_num_timesteps=False)

    def action(self, observation: Any) -> Any:
        return self.model.predict(observation, deterministic=True)[0]


def side(name: str, env: str, batch: int, own_pace: bool = False) -> Side:
    kind, *rest = name.split("-")
    if kind in LIBRARIES:
        return Theirs(kind, rest[0], env, batch)
    algorithm: Any = AGENTS[kind]() if own_pace else replace(AGENTS[kind](), batch=batch)
    if set(rest) - {"float32"} and not isinstance(algorithm, Searched):
        raise ValueError(f"--agent: {kind} does not search, so there is no {name}")
    for what in rest:
        exact = {"learning": "float32"} | ({"sampling": "float32"} if isinstance(algorithm, Searched) else {})
        changes: dict[str, Any] = {"float32": exact, "target": {"search_for": "target"}}
        change = changes[what] if what in changes else {"search": replace(PI_CEM, iterations=int(what))}
        algorithm = replace(algorithm, **change)
    return Ours(algorithm, env, own_pace)


def timed(work: Callable[[int], None], steps: int) -> tuple[float, float]:
    """The wall time and the processor time of a step, in seconds."""
    began, spent = time.perf_counter(), time.process_time()
    work(steps)
    spent = time.process_time() - spent
    return (time.perf_counter() - began) / steps, spent / steps


def arguments() -> argparse.Namespace:
    known = [*THEIRS, *OURS, *OTHERS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--agent", nargs="+", choices=known, metavar="NAME", help=f"some of {', '.join(known)}")
    parser.add_argument("--batch", type=int, default=128, help="transitions of an update, for all agents")
    parser.add_argument("--own-pace", action="store_true", help="every agent's own batch and pace")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="number of threads and cores")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--block", type=int, default=80, help="number of steps in a row")
    args = parser.parse_args()
    for name in ("batch", "threads", "rounds", "block"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name}: expected at least 1, got {getattr(args, name)}")
    if set(args.agent or ()) & {"urex", "power"} and not args.own_pace:
        raise ValueError("--agent: urex and power have no batch; add --own-pace")
    there = {library for library, module in LIBRARIES.items() if importlib.util.find_spec(module)}
    args.agent = args.agent or [*(name for name in THEIRS if name.split("-")[0] in there), *OURS]
    return args


def main() -> None:
    args, screen = arguments(), cli.Screen()
    threads = keep_to(args.threads)  # before JAX counts the cores
    sides = {name: side(name, args.env, args.batch, args.own_pace) for name in args.agent}
    costs: dict[str, list[tuple[float, ...]]] = defaultdict(list)  # seconds of a step of learning, and of acting
    for number in range(args.rounds + 1):
        for name, one in sides.items():
            screen.status(f"round {number}/{args.rounds}  {name}")
            learning, acting = timed(one.learn, args.block), timed(one.play, args.block)
            if number:  # round 0 is a warm-up
                costs[name].append((learning[0], acting[0], learning[1] / learning[0]))
    batch = "own batch and pace" if args.own_pace else f"batch {args.batch}"
    screen.line(f"{args.env}, {batch}, {threads}, {args.rounds} rounds of {args.block} steps each")
    first = next(iter(sides))
    print(f"| | learning, steps/s | of {first}'s | cores | 1000 steps of learning | 1000 steps of acting |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, found in costs.items():
        learns, acts, cores = np.median(found, axis=0)
        ratio = np.median([a[0] / b[0] for a, b in zip(costs[first], found, strict=True)])
        print(
            f"| {name} | {1 / learns:.0f} | {ratio:.2f} | {cores:.2f} | {1000 * learns:.1f} s | {1000 * acts:.2f} s |"
        )


if __name__ == "__main__":
    cli.run(main)
