"""mbrl-lib's PETS on its continuous cart-pole, with its own CEM or with a planner of this library.

    python examples/mbrl_pets.py
    python examples/mbrl_pets.py --optimizer cem_gd --steps 1000 --seed 1
    python examples/mbrl_pets.py --optimizer mbrl_cem --set algorithm.num_particles=10

The config is mbrl-lib's own, except for the entries in QUICKER below. --set changes its entries. A return is the number
of steps until the pole falls, at most 200. mbrl-lib's reward is 1 until then and has no gradient. So every optimizer
plans for a smooth reward; --reward cartpole takes mbrl-lib's. Run it in .venv-mbrl, which `make test-mbrl` makes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elites import cli

try:
    import mbrl
    import mbrl.algorithms.pets
    from hydra.errors import HydraException
    from mbrl.env import reward_fns, termination_fns
    from mbrl.env.cartpole_continuous import CartPoleEnv
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
except ImportError as missing:
    sys.exit(f"mbrl_pets: {missing}; run it with .venv-mbrl/bin/python, which `make test-mbrl` makes")

EPISODE = 200

# --- the YAML that a user of mbrl-lib writes ------------------------------------------------------------------------

MBRL_CEM = """
_target_: mbrl.planning.CEMOptimizer
num_iterations: ${overrides.cem_num_iters}
elite_ratio: ${overrides.cem_elite_ratio}
population_size: ${overrides.cem_population_size}
alpha: ${overrides.cem_alpha}
clipped_normal: ${overrides.cem_clipped_normal}
return_mean_elites: true
lower_bound: ???
upper_bound: ???
device: ${device}
"""
CEM = """
_target_: elites.agents.mbrl.Optimizer
planner: {name: cem, samples: 350, iterations: 5, elites: 35, alpha: 0.9, answer: mean}
seed: ${seed}
lower_bound: ???
upper_bound: ???
device: ${device}
"""
CEM_GD_AGENT = """
_target_: elites.agents.mbrl.Agent
planner: {name: cem_gd, cold: {samples: 500}, warm: {samples: 10}, ascent: {steps: 10}, top_k: 1}
planning_horizon: ${overrides.planning_horizon}
action_lb: ???
action_ub: ???
seed: ${seed}
"""
QUICKER = [
    "overrides.model_batch_size=32",  # with 256, an epoch of 200 transitions has one step
    "algorithm.num_particles=5",  # instead of 20: one for each elite member
]
OPTIMIZERS = {"mbrl_cem": MBRL_CEM, "cem": CEM, "cem_gd": "{}"}


def configured(optimizer: str, steps: int, seed: int, changes: list[str]) -> Any:
    """The packaged config of PETS on the cart-pole."""
    folder = Path(mbrl.__file__).parent / "examples/conf"
    parts = {
        "algorithm": "algorithm/pets",
        "dynamics_model": "dynamics_model/gaussian_mlp_ensemble",
        "overrides": "overrides/pets_cartpole",
    }
    cfg: Any = OmegaConf.create({name: OmegaConf.load(folder / f"{file}.yaml") for name, file in parts.items()})
    cfg.update(seed=seed, device="cpu", debug_mode=False, action_optimizer=OmegaConf.create(OPTIMIZERS[optimizer]))
    if optimizer == "cem_gd":
        cfg.algorithm.agent = OmegaConf.create(CEM_GD_AGENT)
    for part in (cfg.algorithm.agent, cfg.dynamics_model):
        part._recursive_ = False  # else new versions of Hydra build the parts inside, which mbrl-lib builds itself
    cfg.overrides.num_steps, cfg.algorithm.dataset_size = steps, steps + 2 * EPISODE
    OmegaConf.set_struct(cfg, True)  # an unknown key raises an error
    cfg.merge_with_dotlist([*QUICKER, *changes])
    OmegaConf.set_struct(cfg, False)
    return cfg


# --- the planner's reward, and the measurements -----------------------------------------------------------------------


def upright(action: Tensor, next_observation: Tensor) -> Tensor:
    """Rows of (x, ẋ, θ, θ̇) -> (R, 1): 1 in the middle, 0 if both the cart and the pole are at the edge."""
    x, angle = next_observation[:, 0] / 2.4, next_observation[:, 2] / math.radians(12)
    return (1 - 0.5 * (x**2 + angle**2)).reshape(-1, 1)


REWARDS = {"smooth": upright, "cartpole": reward_fns.cartpole}


class Watched(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Records the returns of episodes of 200 steps, and the time between steps: a plan, and once in 50 a training."""

    def __init__(self, seed: int, unplanned: int, show: Callable[[str], None]) -> None:
        super().__init__(CartPoleEnv())
        self.action_space.seed(seed)
        self.seed: int | None = seed
        self.show, self.steps = show, -unplanned  # the first ones are random
        self.returns: list[float] = []
        self.milliseconds: list[float] = []

    def reset(self, **options: Any) -> tuple[NDArray[Any], dict[str, Any]]:
        observation, info = self.env.reset(seed=self.seed)  # it takes no options
        self.seed, self.length = None, 0
        if self.steps >= 0:
            self.returns.append(0.0)
        self.ready = time.perf_counter()
        return observation, info

    def step(self, action: NDArray[Any]) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        if self.returns:
            self.milliseconds.append(1e3 * (time.perf_counter() - self.ready))
        observation, reward, terminated, _, info = self.env.step(action)
        self.steps, self.length = self.steps + 1, self.length + 1
        if self.returns:
            self.returns[-1] += float(reward)
            self.show(f"{self.steps} steps  return {self.returns[-1]:.0f}  plan {self.milliseconds[-1]:.0f} ms")
        self.ready = time.perf_counter()
        return observation, float(reward), terminated, self.length >= EPISODE, info


def run(optimizer: str, args: argparse.Namespace) -> tuple[list[float], float]:
    """The return of every planned episode, and the median of the plans in milliseconds."""

    def show(text: str) -> None:
        if not args.quiet:
            print(f"\r{optimizer:<9} {text}   ", end="", file=sys.stderr, flush=True)

    np.random.seed(args.seed)  # noqa: NPY002  # mbrl-lib draws from the global generators
    torch.manual_seed(args.seed)
    try:
        cfg = configured(optimizer, args.steps, args.seed, args.set)
        env = Watched(args.seed, cfg.algorithm.initial_exploration_steps, show)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
            mbrl.algorithms.pets.train(env, termination_fns.cartpole, REWARDS[args.reward], cfg, True, folder)
    except (OmegaConfBaseException, HydraException) as error:
        raise ValueError(" ".join(str(error.__cause__ or error).split())) from error
    if not args.quiet:
        print("\r" + " " * 70, end="\r", file=sys.stderr, flush=True)
    return env.returns, float(np.median(env.milliseconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", choices=[*OPTIMIZERS, "all"], default="all")
    parser.add_argument("--reward", choices=list(REWARDS), default="smooth", help="the planner's reward")
    parser.add_argument("--steps", type=int, default=600, help="planned steps; the last episode is played to its end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an entry of mbrl-lib's config")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each optimizer")
    args = parser.parse_args()
    if args.steps < 1 or args.seed < 0:
        raise ValueError(f"expected --steps of at least 1 and --seed of at least 0, got {args.steps}, {args.seed}")
    if not args.json:
        print(f"{'optimizer':<12}{'plan, median':>13}{'wall':>9}   returns, of {EPISODE}")
    for optimizer in list(OPTIMIZERS) if args.optimizer == "all" else [args.optimizer]:
        began = time.perf_counter()
        returns, median = run(optimizer, args)
        wall = time.perf_counter() - began
        if args.json:
            row = {"optimizer": optimizer, "seed": args.seed, "reward": args.reward, "returns": returns}
            print(json.dumps(row | {"plan_ms_median": round(median, 1), "wall_s": round(wall, 1)}), flush=True)
        else:
            shown = " ".join(f"{value:.0f}" for value in returns)
            print(f"{optimizer:<12}{median:>10.0f} ms{wall:>7.1f} s   {shown}", flush=True)


if __name__ == "__main__":
    cli.run(main)
