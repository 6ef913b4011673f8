"""The MPC agent: plans at every step, with a warm start from the last step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, overload, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from elites.agents.graphed import GraphedPlans
from elites.agents.learner import restore
from elites.dynamics import Dynamics, Return
from elites.fields import Count, NonNegative, Range, check, renaming
from elites.planners import Blend, Fill, Objective, Plan, Planner, Solver, shift
from elites.planners.saving import loaded, saved
from elites.spaces import Space

COLD = -1  # the age of a row whose next plan starts cold
OVER = -2  # the age of a row whose next observation is an episode's last, so that its action does not count
OF = "MPC.of(planner, horizon=…, dynamics=…, reward=…, space=…)"
Mode = Literal["disabled", "samestep", "nextstep"]  # Gymnasium's autoreset modes


@runtime_checkable
class Returns(Protocol):
    """Gives the objective of a state, and tells how to use the points of a plan.

    `elites.dynamics.Return` is one. `elites.dynamics.Sequences` has all methods except `at`, for action sequences.
    """

    shifts: bool  # whether a plan's points move forward in time with the steps taken

    @property
    def engine(self) -> str | None:
        """The engine that last computed the model's networks, if it has any."""
        ...

    def at(self, state: Tensor, rng: Generator) -> Objective:
        """state (*B, S) -> the objective of points (*B, N, *E)."""
        ...

    def space(self, actions: Space, horizon: int) -> Space:
        """The space of a plan's points (*E), for an agent with these actions (A)."""
        ...

    def act(self, plan: Plan, age: Tensor, state: Tensor) -> Tensor:
        """The actions (B, A) of a plan (B, …) in states (B, S), after `age` (B) steps of the plan."""
        ...


@dataclass(frozen=True)
class Report:
    """The last planning step."""

    plan: Plan  # (B, …), one row for each problem
    seconds: float
    misses: int  # plans over the budget since the agent was made
    engine: str | None  # the engine of the model's networks, if known: "kernel", "cuda" or "torch"


class MPC:
    """Maps an observation to an action: (S,) -> (A,), or (B, S) -> (B, A) for B problems; numpy or torch.

        mpc = MPC.of(horizon=45, dynamics=f, reward=r, space=env.action_space)  # with the planner Blend()
        action = mpc(observation)

    returns: the objective of a state, such as `elites.dynamics.Return`. space: the space of one action, a Gymnasium
    space or an `elites.Space`, which also sets the dtype. replan_every: number of actions from one plan. budget_s:
    seconds for one plan; then the planner returns its best so far. fill: the end of a shifted plan (see `shift`).
    seed: None draws a seed from the system. graphs: on a GPU, records a plan as a CUDA graph and replays it. So the
    objective's functions run as Python code only at first. Plans with a budget or of some of the rows have no graph.
    """

    @renaming(box="space", dynamics=OF, reward=OF, terminated=OF, terminal_value=OF, particles=OF, risk=OF, discount=OF)
    def __init__(
        self,
        planner: Planner,
        horizon: int,
        returns: Returns | None = None,
        space: Any = None,  # anything that Space.of takes
        *,
        replan_every: int = 1,
        budget_s: float | None = None,
        fill: Fill = "repeat",
        seed: int | None = None,
        device: torch.device | str = "cpu",
        graphs: bool = False,
    ) -> None:
        if not isinstance(planner, Planner) or isinstance(planner, type):
            raise ValueError(f"planner: expected an object with a method plan, such as CEM(), got {planner!r}")
        check("horizon", horizon, Count)
        check("replan_every", replan_every, Annotated[int, Range(1, horizon)])
        check("budget_s", budget_s, NonNegative | None)
        check("fill", fill, Fill)
        check("seed", seed, int | None)
        if not isinstance(returns, Returns):
            raise ValueError(
                "returns: expected an object with at, space and act (elites.dynamics.Sequences has all but at), got "
                f"{returns!r}; MPC.of takes functions"
            )
        self.actions = Space.of(
            space, dtype=None if isinstance(space, Space) else torch.get_default_dtype(), device=device
        )
        if len(self.actions.shape) != 1:
            raise ValueError(f"space: expected actions of shape (A,), got {tuple(self.actions.shape)}")
        self.planner, self.returns, self.space = planner, returns, returns.space(self.actions, horizon)
        if isinstance(planner, Solver):
            planner.require(self.space)
        self.replan_every, self.budget_s, self.fill = replan_every, budget_s, fill
        self.rng = Generator(self.space.device)
        self.rng.seed() if seed is None else self.rng.manual_seed(int(seed))
        if graphs and self.space.device.type != "cuda":
            raise ValueError(f"graphs: expected a CUDA device, got {self.space.device}")
        self._graphs = GraphedPlans(self._searched, self.rng) if graphs and budget_s is None else None
        self.last: Report | None = None
        self._misses = 0
        self.reset()

    @classmethod
    def of(
        cls,
        planner: Planner | None = None,  # None is Blend()
        *,
        horizon: int,
        dynamics: Dynamics[Any] | Callable[..., Tensor],
        reward: Callable[..., Tensor],
        space: Any,
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
        graphs: bool = False,
    ) -> MPC:
        """An agent from functions of torch rows. `elites.dynamics.Return` explains the options up to `risk`."""
        returns = Return(dynamics, reward, terminated, terminal_value, discount, particles, risk)
        return cls(
            Blend() if planner is None else planner,
            horizon,
            returns,
            space,
            replan_every=replan_every,
            budget_s=budget_s,
            fill=fill,
            seed=seed,
            device=device,
            graphs=graphs,
        )

    # --- episodes ----------------------------------------------------------------------------------------------------

    def reset(self, mask: Any = None, *, guess: Any = None) -> None:
        """Starts the problems with mask (B,) true cold, or all. guess: (H, A) or (B, H, A), the first plan of all."""
        if mask is None:
            self._plan: Plan | None = None
            self._age = np.empty(0, dtype=int)  # (B,): actions taken from the plan; COLD without a plan
            self._guess: Tensor | None = None if guess is None else self._checked_guess(self.actions.from_env(guess))
            return
        if guess is not None:
            raise ValueError("reset: expected a guess for all problems or a mask, got both")
        self.ended(mask)

    def ended(self, mask: Any, mode: object = "disabled") -> None:
        """Episodes ended in the rows with mask (B,) true. mode: the autoreset mode of Gymnasium's vector environment.

        The next observation is the first one of a new episode, and its plan starts cold. In the mode NEXT_STEP it is
        the last one of the old episode. Its action does not count, so the agent makes no plan for it.
        """
        known = str(getattr(mode, "value", mode)).lower().replace("_", "")
        check("ended: mode", known, Mode)
        chosen = np.atleast_1d(np.asarray(mask.cpu() if isinstance(mask, Tensor) else mask))
        if chosen.dtype != bool or (self._age.size and chosen.shape != self._age.shape):
            raise ValueError(
                f"reset: expected a bool mask of shape {self._age.shape}, got {chosen.dtype} of shape {chosen.shape}"
            )
        if self._age.size:
            self._age[chosen] = OVER if known == "nextstep" else COLD

    def _checked_guess(self, guess: Tensor) -> Tensor:
        if guess.ndim > 1 + len(self.space.shape) or guess.shape[-len(self.space.shape) :] != self.space.shape:
            expected = tuple(self.space.shape)
            raise ValueError(f"reset: expected a guess of shape {expected}, or (B, …) of it, got {tuple(guess.shape)}")
        return guess

    # --- a step ------------------------------------------------------------------------------------------------------

    @overload
    def __call__(self, observation: Tensor) -> Tensor: ...
    @overload
    def __call__(self, observation: NDArray[Any]) -> NDArray[Any]: ...
    def __call__(self, observation: Any) -> Any:
        with torch.inference_mode(False):  # a planner can need gradients, even if the caller is in inference mode
            return self._act(observation)

    def _act(self, observation: Any) -> Any:
        wanted = "observation: expected numbers of shape (S,) or (B, S)"
        try:
            state = torch.as_tensor(observation).detach().clone()
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{wanted}, got {observation!r}") from error
        if state.ndim not in (1, 2) or not state.numel() or state.is_complex() or state.dtype == torch.bool:
            raise ValueError(f"{wanted}, got {tuple(state.shape)}, {state.dtype}")
        states = state.reshape(-1, state.shape[-1]).to(device=self.space.device, dtype=self.space.dtype)
        action = self.actions.to_env(self._actions(states))
        action = action if state.ndim == 2 else action.squeeze(0)
        return action.to(state.device) if isinstance(observation, Tensor) else action.cpu().numpy()[()]

    def _actions(self, states: Tensor) -> Tensor:
        """(B, S) -> (B, A) from each row's plan at its age. An episode that is over gets the space's centre."""
        self._expect(len(states))
        over = self._age == OVER
        actions = self.actions.centre.expand(len(states), -1)
        if not over.all():
            plan = self._planned(states)
            age = torch.as_tensor(self._age, device=self.space.device).clamp_min(0)
            planned = self.returns.act(plan, age, states)
            ended = torch.as_tensor(over, device=self.space.device).unsqueeze(-1)
            actions = torch.where(ended, actions, planned) if over.any() else planned
        self._age = np.where(over, COLD, self._age + 1)
        return actions

    def _expect(self, batch: int) -> None:
        """Checks the number of problems. At the first call, sets their ages, and the guess as their plan."""
        if not self._age.size:
            if self._guess is not None:
                if self._guess.ndim > len(self.space.shape) and len(self._guess) != batch:
                    raise ValueError(f"observation: expected {len(self._guess)} problems, as in the guess, got {batch}")
                self._plan = Plan.at(self._guess.expand(batch, *self.space.shape), (batch,))
            self._age = np.full(batch, COLD if self._guess is None else 0)
        elif self._age.size != batch:
            raise ValueError(
                f"observation: expected {self._age.size} problems, as before, got {batch}; call reset() first"
            )

    def _planned(self, states: Tensor) -> Plan:
        """A plan for states (B, S) with an action left at `_age` in every row."""
        guessed = self._plan is not None and self._plan.evaluations == 0
        due = ((self._age == COLD) | (self._age >= self.replan_every) | guessed) & (self._age != OVER)
        if due.any() or self._plan is None:
            self._plan = self._replan(states, due)
            self._age[due] = 0
        return self._plan

    def _replan(self, states: Tensor, due: NDArray[np.bool_]) -> Plan:
        began = time.perf_counter()
        plan, ages = self._plan, np.unique(self._age[due])
        for number, age in enumerate(ages):  # rows that were reset start cold, in a search of their own
            deadline = self._deadline(began, len(ages) - number)
            if len(ages) == 1 and due.all():
                plan = self._whole(states, int(age), deadline)
                break
            rows = torch.as_tensor(np.flatnonzero(due & (self._age == age)), device=self.space.device)
            start = None if age == COLD or self._plan is None else _rows_of(self._plan, rows)
            plan = self._merged(plan, self._searched(states[rows], start, int(age), deadline), rows, len(states))
        if self.space.device.type == "cuda":
            torch.cuda.synchronize(self.space.device)
        seconds = time.perf_counter() - began
        self._misses += self.budget_s is not None and seconds > self.budget_s
        assert plan is not None
        self.last = Report(plan, seconds, self._misses, self.returns.engine)
        return plan

    def _deadline(self, began: float, searches: int) -> float | None:
        """The deadline of the next search, if `searches` searches share the remaining time equally."""
        if self.budget_s is None:
            return None
        now = time.perf_counter()
        return now + max(began + self.budget_s - now, 0.0) / searches

    def _whole(self, states: Tensor, age: int, deadline: float | None) -> Plan:
        """A plan for all rows, which have the same age."""
        start = None if age == COLD else self._plan
        return self._graphs(states, start, age) if self._graphs else self._searched(states, start, age, deadline)

    def _searched(self, states: Tensor, start: Plan | None, age: int, deadline: float | None = None) -> Plan:
        """A plan from the last one, which is `age` steps old."""
        if start is not None and self.returns.shifts:
            start = shift(start, age, self.fill, self.space)
        objective = self.returns.at(states, self.rng)
        return self.planner.plan(objective, self.space, start, batch=(len(states),), rng=self.rng, deadline=deadline)

    def _merged(self, plan: Plan | None, part: Plan, rows: Tensor, batch: int) -> Plan:
        if plan is None:  # the other rows have no plan yet: their episodes have not begun
            plan = part.map(lambda x: x[:1].expand(batch, *x.shape[1:]))
        return plan.merged(part, rows)

    @property
    def refuses_graphs(self) -> bool:
        """Whether graphs were asked for, and the objective's functions wait for the GPU."""
        return self._graphs is not None and self._graphs.refused

    # --- to save and to go on ----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state between two steps, as tensors and JSON values."""
        plan = None if self._plan is None else saved(self._plan)
        age, misses = self._age.tolist(), self._misses
        return {"plan": plan, "age": age, "guess": self._guess, "misses": misses, "rng": self.rng.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._plan = None if state["plan"] is None else loaded(state["plan"], self.space)
        self._age, self._misses = np.array(state["age"], dtype=int), state["misses"]
        self._guess = None if state["guess"] is None else state["guess"].to(self.space.device)
        restore(self.rng, state["rng"])


def _rows_of(plan: Plan, rows: Tensor) -> Plan:
    """The plan of some problems."""
    return plan.map(lambda x: x[rows])
