"""The MPC agent: plans at every step, warm from the step before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol, overload, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from elites.agents.learner import restore
from elites.dynamics import Dynamics, Return
from elites.fields import Count, NonNegative, Range, check
from elites.planners import Fill, Objective, Plan, Planner, shift
from elites.spaces import Box

COLD = -1


@runtime_checkable
class Returns(Protocol):
    """Gives the objective that belongs to a state (*B, S), as `elites.dynamics.Return` does."""

    def at(self, state: Tensor, rng: Generator) -> Objective: ...


@dataclass(frozen=True)
class Report:
    """The last planning step."""

    plan: Plan  # (B, …), a row for every problem
    seconds: float
    misses: int  # of the budget, since the agent was made
    engine: str | None  # what the model's networks ran in, where it has any: "kernel" or "torch"


class MPC:
    """Observation in, action out: (S,) -> (A,), or (B, S) -> (B, A) for many problems at once; numpy or torch.

        mpc = MPC(CEMGD(), horizon=45, dynamics=f, reward=r, box=env.action_space)
        action = mpc(observation)

    dynamics, reward, terminated, terminal_value: functions of torch rows, see `Return`, whose options the others are;
    or `returns`, an object with `at`, in their place.
    box: of one action, a Gymnasium Box or an `elites.Box`, which then sets the dtype. replan_every: actions taken from
    one plan. budget_s: seconds for one plan, after which the planner answers with its best so far. fill: how a shifted
    plan ends. seed: None draws one from the system.
    """

    def __init__(
        self,
        planner: Planner,
        horizon: int,
        dynamics: Dynamics[Any] | Callable[..., Tensor] | None = None,
        reward: Callable[..., Tensor] | None = None,
        box: Any = None,
        *,
        returns: Returns | None = None,
        terminated: Callable[..., Tensor] | None = None,
        terminal_value: Callable[..., Tensor] | None = None,
        discount: float = 1.0,
        particles: int = 20,
        risk: float = 0.0,
        replan_every: int = 1,
        budget_s: float | None = None,
        fill: Fill = "repeat",
        seed: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if not isinstance(planner, Planner) or isinstance(planner, type):
            raise ValueError(f"planner: expected an object with a method plan, such as CEM(), got {planner!r}")
        check("horizon", horizon, Count)
        check("replan_every", replan_every, Annotated[int, Range(1, horizon)])
        check("budget_s", budget_s, NonNegative | None)
        check("fill", fill, Fill)
        check("seed", seed, int | None)
        if returns is None:
            returns = Return(dynamics, reward, terminated, terminal_value, discount, particles, risk)  # type: ignore[arg-type]  # Return checks
        elif any((dynamics, reward, terminated, terminal_value)) or not isinstance(returns, Returns):
            raise ValueError(
                f"returns: expected an object with a method at, instead of dynamics and reward, got {returns!r}"
            )
        action = Box.of(box, dtype=None if isinstance(box, Box) else torch.get_default_dtype(), device=device)
        if len(action.shape) != 1:
            raise ValueError(f"box: expected bounds of shape (A,), got {tuple(action.shape)}")
        self.planner, self.returns, self.box = planner, returns, action.repeat(horizon)
        self.replan_every, self.budget_s, self.fill = replan_every, budget_s, fill
        self.rng = Generator(self.box.device)
        self.rng.seed() if seed is None else self.rng.manual_seed(int(seed))
        self.last: Report | None = None
        self._misses = 0
        self.reset()

    def reset(self, mask: Any = None, *, guess: Any = None) -> None:
        """The problems where mask (B,) is true, or all, start cold; a guess (H, A) or (B, H, A) is their first plan."""
        if mask is None:
            self._plan: Plan | None = None
            self._age = np.empty(0, dtype=int)  # (B,): actions taken of the plan; COLD where there is none
            self._guess: Tensor | None = (
                None if guess is None else self._checked_guess(torch.as_tensor(guess).to(self.box.low))
            )
            return
        if guess is not None:
            raise ValueError("reset: expected a guess for all problems or a mask, got both")
        chosen = np.atleast_1d(np.asarray(mask.cpu() if isinstance(mask, Tensor) else mask))
        if chosen.dtype != bool or (self._age.size and chosen.shape != self._age.shape):
            raise ValueError(
                f"reset: expected a bool mask of shape {self._age.shape}, got {chosen.dtype} of shape {chosen.shape}"
            )
        if self._age.size:
            self._age[chosen] = COLD

    def state_dict(self) -> dict[str, Any]:
        """All that goes from one step to the next, as tensors and JSON values."""
        plan = None if self._plan is None else {n: getattr(self._plan, n) for n in (*TENSORS, "evaluations")}
        age, misses = self._age.tolist(), self._misses
        return {"plan": plan, "age": age, "guess": self._guess, "misses": misses, "rng": self.rng.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        plan, device = state["plan"], self.box.device
        moved = plan and {name: plan[name].to(device) for name in TENSORS}
        self._plan = Plan(**moved, evaluations=plan["evaluations"]) if plan else None
        self._age, self._misses = np.array(state["age"], dtype=int), state["misses"]
        self._guess = None if state["guess"] is None else state["guess"].to(device)
        restore(self.rng, state["rng"])

    def _checked_guess(self, guess: Tensor) -> Tensor:
        if guess.ndim > 3 or guess.shape[-2:] != self.box.shape:
            expected = tuple(self.box.shape)
            raise ValueError(f"reset: expected a guess of shape {expected}, or (B, …) of it, got {tuple(guess.shape)}")
        return guess

    @overload
    def __call__(self, observation: Tensor) -> Tensor: ...
    @overload
    def __call__(self, observation: NDArray[Any]) -> NDArray[Any]: ...
    def __call__(self, observation: Any) -> Any:
        with torch.inference_mode(False):  # whatever the caller is in, a planner may need gradients
            return self._act(observation)

    def _act(self, observation: Any) -> Any:
        wanted = "observation: expected numbers of shape (S,) or (B, S)"
        try:
            state = torch.as_tensor(observation).detach().clone()
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{wanted}, got {observation!r}") from error
        if state.ndim not in (1, 2) or not state.numel() or state.is_complex() or state.dtype == torch.bool:
            raise ValueError(f"{wanted}, got {tuple(state.shape)}, {state.dtype}")
        states = state.reshape(-1, state.shape[-1]).to(self.box.low)
        plan = self._planned(states)
        rows = torch.arange(len(states), device=self.box.device)
        action = plan.best[rows, torch.as_tensor(self._age, device=self.box.device)]
        self._age += 1
        action = action if state.ndim == 2 else action.squeeze(0)
        return action.to(state.device) if isinstance(observation, Tensor) else action.cpu().numpy()

    def _planned(self, states: Tensor) -> Plan:
        """A plan for states (B, S) that has an action left in every row, `_age` steps in."""
        batch = len(states)
        if not self._age.size:
            if self._guess is not None:
                if self._guess.ndim == 3 and len(self._guess) != batch:
                    raise ValueError(f"observation: expected {len(self._guess)} problems, as in the guess, got {batch}")
                self._plan = Plan.at(self._guess.expand(batch, *self.box.shape), (batch,))
            self._age = np.full(batch, COLD if self._guess is None else 0)
        elif self._age.size != batch:
            raise ValueError(
                f"observation: expected {self._age.size} problems, as before, got {batch}; reset() starts anew"
            )
        guessed = self._plan is not None and self._plan.evaluations == 0
        due = (self._age == COLD) | (self._age >= self.replan_every) | guessed
        if due.any() or self._plan is None:
            self._plan = self._replan(states, due)
            self._age[due] = 0
        return self._plan

    def _replan(self, states: Tensor, due: NDArray[np.bool_]) -> Plan:
        began = time.perf_counter()
        deadline = None if self.budget_s is None else began + self.budget_s
        plan = self._plan
        for age in np.unique(self._age[due]):  # rows that were reset start cold, apart from the others
            rows = torch.as_tensor(np.flatnonzero(due & (self._age == age)), device=self.box.device)
            start = None
            if age != COLD and self._plan is not None:
                start = shift(_rows(self._plan, rows), int(age), self.fill, self.box)
            objective = self.returns.at(states[rows], self.rng)
            part = self.planner.plan(objective, self.box, start, batch=(len(rows),), rng=self.rng, deadline=deadline)
            plan = part if plan is None or len(rows) == len(states) else _merged(plan, part, rows)
        if self.box.device.type == "cuda":
            torch.cuda.synchronize(self.box.device)
        seconds = time.perf_counter() - began
        self._misses += deadline is not None and began + seconds > deadline
        assert plan is not None
        dynamics = getattr(self.returns, "dynamics", None)
        engine = dynamics.engine if isinstance(dynamics, Dynamics) else None
        self.last = Report(plan, seconds, self._misses, engine)
        return plan


TENSORS = ("best", "value", "elites", "mean", "std", "ok")


def _rows(plan: Plan, rows: Tensor) -> Plan:
    return replace(plan, **{name: getattr(plan, name)[rows] for name in TENSORS})


def _merged(plan: Plan, part: Plan, rows: Tensor) -> Plan:
    """The plan with a part of its rows replaced; as many elites as both have."""
    keep = min(plan.elites.shape[1], part.elites.shape[1])
    plan, part = (replace(p, elites=p.elites[:, :keep]) for p in (plan, part))
    merged = {name: getattr(plan, name).index_copy(0, rows, getattr(part, name)) for name in TENSORS}
    return replace(plan, **merged, evaluations=max(plan.evaluations, part.evaluations))
