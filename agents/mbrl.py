"""This library's planners in mbrl-lib's MPC loop, by a `_target_` in its YAML. Needs the package `mbrl`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import mbrl.planning
import mbrl.planning.trajectory_opt
import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Generator, Tensor

from elites import Box, config
from elites.agents.mpc import MPC
from elites.dynamics import Return
from elites.dynamics.mbrl import Model, Propagation
from elites.planners import Plan, Planner, shift


class Optimizer(mbrl.planning.trajectory_opt.Optimizer):  # type: ignore[misc]  # mbrl-lib has no types
    """A planner of this library as the `action_optimizer` of mbrl-lib's `TrajectoryOptimizer`.

        action_optimizer:
          _target_: elites.agents.mbrl.Optimizer
          planner: {name: cem, samples: 350}
          lower_bound: ???
          upper_bound: ???
          device: ${device}

    Works with planners that sample, because mbrl-lib scores without gradients. `Agent` has gradients. replan_freq: the
    agent's. population_size_module: the number of candidates is padded to a multiple of it. mbrl-lib's ensembles need
    a number of rows (candidates × particles) that their elite members divide.
    """

    def __init__(
        self,
        planner: Mapping[str, Any],
        lower_bound: Sequence[Sequence[float]],
        upper_bound: Sequence[Sequence[float]],
        device: torch.device | str = "cpu",
        replan_freq: int = 1,
        population_size_module: int = 1,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.planner = _planner(planner)
        low, high = (torch.tensor(bound, dtype=torch.float32) for bound in (list(lower_bound), list(upper_bound)))
        self.box = Box(low, high).to(device=device)
        self.replan_freq, self.module = replan_freq, population_size_module
        self.rng = Generator(self.box.device)
        self.rng.seed() if seed is None else self.rng.manual_seed(seed)
        self.last: Plan | None = None

    def optimize(
        self,
        obj_fun: Callable[[Tensor], Tensor],
        x0: Tensor | None = None,
        callback: Callable[[Tensor, Tensor, int], None] | None = None,
        **_: Any,
    ) -> Tensor:
        """The best plan (H, A). x0: the last plan (H, A), shifted. If x0 is the box's centre, the start is cold."""
        calls = 0

        def objective(actions: Tensor) -> Tensor:
            nonlocal calls
            surplus = -len(actions) % self.module
            padded = torch.cat([actions, actions[-1:].expand(surplus, -1, -1)]) if surplus else actions
            values = obj_fun(padded)[: len(actions)]
            if callback is not None:
                callback(actions, values, calls)
            calls += 1
            return values

        start = None
        if x0 is not None and not torch.allclose(x0, self.box.centre):
            start = Plan.at(x0) if self.last is None else shift(self.last, self.replan_freq, "center", self.box)
            start = replace(start, best=x0)
        self.last = self.planner.plan(objective, self.box, start, rng=self.rng)
        return self.last.best


class Agent(mbrl.planning.Agent):  # type: ignore[misc]
    """`MPC` with gradients through mbrl-lib's model, as the `agent` of its PETS.

        agent:
          _target_: elites.agents.mbrl.Agent
          planner: {name: cem_gd}
          planning_horizon: ${overrides.planning_horizon}
          action_lb: ???
          action_ub: ???

    mbrl-lib's PETS and `create_trajectory_optim_agent_for_model` give it the model. In other code, call
    `set_model_env`. A gradient needs a differentiable reward_fn or a learned reward. `MPC` explains the other options.
    """

    def __init__(
        self,
        planner: Mapping[str, Any],
        action_lb: Sequence[float],
        action_ub: Sequence[float],
        planning_horizon: int = 1,
        replan_freq: int = 1,
        propagation: Propagation | None = None,
        risk: float = 0.0,
        budget_s: float | None = None,
        seed: int | None = None,
    ) -> None:
        self.planner = _planner(planner)
        self.box = Box(*(torch.tensor(list(bound), dtype=torch.float32) for bound in (action_lb, action_ub)))
        self.horizon, self.replan_freq, self.propagation = planning_horizon, replan_freq, propagation
        self.risk, self.budget_s, self.seed = risk, budget_s, seed
        self.mpc: MPC | None = None

    def set_trajectory_eval_fn(self, trajectory_eval_fn: Callable[..., Tensor]) -> None:
        """Takes the model out of mbrl-lib's function, which itself has no gradients."""
        around = inspect.getclosurevars(trajectory_eval_fn).nonlocals
        if not {"model_env", "num_particles"} <= around.keys():
            raise ValueError(
                "trajectory_eval_fn: expected the one of create_trajectory_optim_agent_for_model, with a model_env, "
                f"got {trajectory_eval_fn!r}; call set_model_env(model_env, num_particles) instead"
            )
        self.set_model_env(around["model_env"], around["num_particles"])

    def set_model_env(self, model_env: Any, num_particles: int = 20) -> None:
        """Sets the model, the reward and the termination, from an mbrl.models.ModelEnv."""
        self.model = model = Model(model_env.dynamics_model, self.propagation)
        reward_fn, termination_fn, size = model_env.reward_fn, model_env.termination_fn, model.observed

        def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
            return cast(Tensor, reward_fn(action, next_state[:, :size])).reshape(-1)

        def terminated(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
            return cast(Tensor, termination_fn(action, next_state[:, :size])).reshape(-1)

        rewarded = reward if reward_fn else model.reward
        self.mpc = MPC(
            self.planner,
            self.horizon,
            Return(model, rewarded, terminated, particles=num_particles, risk=self.risk),
            self.box,
            replan_every=self.replan_freq,
            budget_s=self.budget_s,
            seed=self.seed,
            device=model_env.device,
        )

    def act(self, obs: NDArray[Any], **_: Any) -> NDArray[Any]:
        """(S,) -> (A,)."""
        return self._ready()(self._state(obs))

    def plan(self, obs: NDArray[Any], **_: Any) -> NDArray[Any]:
        """(S,) -> (H, A), from a cold start."""
        mpc = self._ready()
        mpc.reset()
        mpc(self._state(obs))
        assert mpc.last is not None
        return mpc.last.plan.best[0].cpu().numpy()

    def reset(self) -> None:
        """Begins a new episode."""
        if self.mpc is not None:
            self.mpc.reset()

    def _state(self, obs: NDArray[Any]) -> NDArray[Any]:
        """The model's state (S,), or (S + 1,) with a learned reward as its last entry."""
        return np.append(obs, 0.0) if self.model.model.learned_rewards else obs

    def _ready(self) -> MPC:
        if self.mpc is None:
            raise RuntimeError("Agent: expected set_model_env, or set_trajectory_eval_fn, before the first action")
        return self.mpc


def _planner(mapping: Mapping[str, Any]) -> Planner:
    """A planner from a mapping, of Hydra or a dict."""
    plain = OmegaConf.to_container(mapping, resolve=True) if OmegaConf.is_config(mapping) else mapping
    return config.build(Planner, plain, "planner")  # type: ignore[type-abstract]  # the registry has what is built
