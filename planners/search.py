"""The loop of every sampling planner: ask, score, tell, repeat. The scores can come from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor

from elites.planners.distributions import Distribution, Refit, State
from elites.planners.evaluator import checked, finite
from elites.planners.memory import EliteMemory, Remembered
from elites.planners.plan import Plan, like_state
from elites.planners.problem import Problem
from elites.planners.weighting import Weighting, best, like, take, top

Candidates = tuple[Tensor, Tensor]  # own coordinates (*B, N, *U) and their points (*B, N, *E)
Saved = dict[str, "Tensor | list[Tensor] | int | bool | None"]


class Beside(Protocol):
    """Candidates in addition to the drawn ones, such as iCEM's elites."""

    @property
    def remembers(self) -> bool:
        """Whether they include the best so far. If so, a round need not be merged with the last round's elites."""
        ...

    def candidates(self, search: Search) -> list[Candidates]: ...


class Search:
    """A running search.

        search = CEM(samples=100).begin(space)
        while not search.done:
            search.tell(evaluate(search.ask()))  # (*B, N, *E) -> (*B, N)
        plan = search.plan

    samples: candidates drawn in each round. keep: elites in the plan. answer: the best point seen, or the mean. The
    mean is the last candidate asked for, and answers unless the start is better. The start's best is a candidate of
    the first round. N can differ from one ask to the next. `ask` draws random numbers, `tell` never does. memory: the
    fit is to the remembered elites, not to those of the round alone.
    """

    def __init__(
        self,
        problem: Problem,
        distribution: Distribution,
        state: State,
        *,
        weighting: Weighting,
        refit: Refit,
        samples: Sequence[int],
        keep: int = 1,
        beside: Beside | None = None,
        answer: Literal["best", "mean"] = "best",
        memory: EliteMemory | None = None,
    ) -> None:
        self.problem, self.distribution, self.state = problem, distribution, state
        self.weighting, self.refit, self.samples, self.keep = weighting, refit, samples, keep
        self.beside, self.answer, self.memory = beside, answer, memory
        self.remembered: Remembered | None = None
        self.round, self.evaluations, self.stopped, self.answered = 0, 0, False, answer == "best"
        self.axis = len(problem.batch)
        self.elites = problem.fallback.unsqueeze(self.axis).expand(*problem.batch, keep, *problem.space.shape)
        self.own_elites = self.own_fallback = distribution.own(self.elites, problem.space) if beside else self.elites
        self.values = self.elites.new_full((*problem.batch, keep), -torch.inf)  # the elites' values
        self.found, self.value = problem.fallback, self.values[..., 0]
        self.start_value = self.values[..., 0]
        self._asked: Candidates | None = None

    # --- ask and tell ------------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        return self._asked is None and not self._rounds_left and self.answered

    @property
    def asked(self) -> Tensor | None:
        """The candidates whose values `tell` expects now."""
        return None if self._asked is None else self._asked[1]

    def ask(self) -> Tensor:
        """Candidates (*B, N, *E), whose values `tell` expects."""
        if self._asked is not None:
            raise ValueError("ask: expected tell first, with the values of the last candidates")
        if self.done:
            raise ValueError("ask: expected a search that is not done; its plan is search.plan")
        self._asked = self._drawn() if self._rounds_left else self._centre()
        return self._asked[1]

    def tell(self, values: Tensor | Sequence[float], points: Tensor | None = None) -> None:
        """Values (*B, N) of the last candidates. points: (*B, N, *E), the moved candidates, if they were moved."""
        if self._asked is None:
            raise ValueError("tell: expected ask first")
        own, asked = self._asked
        if points is not None:
            if points.shape != asked.shape:
                raise ValueError(f"tell: expected points of shape {tuple(asked.shape)}, got {tuple(points.shape)}")
            asked = self.problem.space.project(points)
            own = self.distribution.own(asked, self.problem.space)
        if not isinstance(values, Tensor):
            values = torch.as_tensor(values, dtype=asked.dtype, device=asked.device)
        values = finite(checked(values, asked, self.axis, "tell"))
        self._asked = None
        self.evaluations += asked.shape[self.axis]
        if self._rounds_left:
            self._learn(own, asked, values)
        else:
            self._take(asked.select(self.axis, 0), values.select(-1, 0))

    def stop(self) -> None:
        """Ends the rounds. One ask remains if the mean is the answer, or if nothing was told yet."""
        self.stopped = True

    @property
    def plan(self) -> Plan:
        """The result so far; valid after the first tell."""
        if not self.evaluations:
            raise ValueError("plan: expected at least one tell")
        ok = self.value.isfinite()
        return Plan(self.found, self.value, self.elites, ok, self.evaluations, by=self.distribution, state=self.state)

    # --- a round -----------------------------------------------------------------------------------------------------

    @property
    def last_round(self) -> bool:
        return self.round == len(self.samples) - 1

    @property
    def _rounds_left(self) -> bool:
        return self.round < len(self.samples) and not (self.stopped and self.round > 0)

    def _drawn(self) -> Candidates:
        space, start = self.problem.space, self.problem.start
        own = self.distribution.sample(self.state, space, self.samples[self.round], self.problem.draw)
        several = [(own, self.distribution.points(own, space))]
        if start and self.round == 0:
            point = start.best.unsqueeze(self.axis)
            several.append((self.distribution.own(point, space), point))
        if self.beside:
            several += self.beside.candidates(self)
        if len(several) == 1:
            return several[0]
        owns, points = zip(*several, strict=True)
        return torch.cat(owns, self.axis), torch.cat(points, self.axis)

    def _learn(self, own: Tensor, points: Tensor, values: Tensor) -> None:
        if self.problem.start and self.round == 0:
            self.start_value = values.select(-1, self.samples[0])
        index, weights = self.weighting(values)
        chosen = take(own, index)
        if self.memory is not None:
            chosen, weights = self._with_memory(self.memory, chosen, weights, values.gather(-1, index))
        self.state = self.distribution.fit(self.state, chosen, weights, self.problem.space, self.refit)
        self._remember(own, points, values)
        self.found, self.value = self.elites.select(self.axis, 0), self.values.select(-1, 0)
        self.round += 1

    def _with_memory(
        self, memory: EliteMemory, elites: Tensor, weights: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The candidates of the fit, and their weights: all 0 if this round teaches nothing."""
        values = torch.where(weights > 0, values, -torch.inf)
        kept = memory.begin(elites, values) if self.remembered is None else self.remembered
        self.remembered = memory.taken(kept, elites, values)
        own, all_weights = memory.weighted(self.remembered)
        return own, all_weights * (weights.sum(-1, keepdim=True) > 0)

    def _remember(self, own: Tensor, points: Tensor, values: Tensor) -> None:
        """Keeps the best of this round and of the earlier rounds, unless this round includes those already."""
        found, index = top(values, min(self.keep, values.shape[-1]))
        elites = take(points, index)
        remembered = self.beside is not None and self.beside.remembers
        if not remembered and (self.round or found.shape[-1] < self.keep):
            pair = torch.cat([self.elites, elites], self.axis), torch.cat([self.values, found], -1)
            elites, found = best(*pair, self.keep)
        scored = like(found > -torch.inf, elites)
        self.elites = torch.where(scored, elites, self.problem.fallback.unsqueeze(self.axis))
        self.values = found
        if remembered:
            self.own_elites = torch.where(scored, take(own, index), self.own_fallback)

    # --- the mean as the answer --------------------------------------------------------------------------------------

    def _centre(self) -> Candidates:
        point = self.distribution.centre(self.state, self.problem.space).unsqueeze(self.axis)
        return self.distribution.own(point, self.problem.space), point

    def _take(self, centre: Tensor, value: Tensor) -> None:
        take = value.isfinite() & (value >= self.start_value)
        self.found = torch.where(like(take, self.found), centre, self.found)
        self.value = torch.where(take, value, self.value)
        self.answered = True

    # --- to save and to go on ----------------------------------------------------------------------------------------

    TENSORS = ("elites", "own_elites", "values", "found", "value", "start_value")
    COUNTS = ("round", "evaluations", "stopped", "answered")

    def state_dict(self) -> Saved:
        """The whole state, generator included. To continue, begin an equal search and call `load_state_dict`."""
        saved: Saved = {name: getattr(self, name) for name in (*self.TENSORS, *self.COUNTS)}
        asked = None if self._asked is None else list(self._asked)
        saved |= {"state": list(self.state), "asked": asked, "rng": self.problem.draw.rng.get_state()}
        return saved if self.remembered is None else saved | {"remembered": list(self.remembered)}

    def load_state_dict(self, saved: Mapping[str, object]) -> None:
        for name in (*self.TENSORS, *self.COUNTS):
            setattr(self, name, saved[name])
        self.state = like_state(self.state, saved["state"])
        remembered = saved.get("remembered")
        self.remembered = Remembered(*remembered) if isinstance(remembered, list) else None
        asked = saved["asked"]
        self._asked = (asked[0], asked[1]) if isinstance(asked, list) else None
        restore(self.problem.draw.rng, saved["rng"])


def restore(rng: Generator, state: object) -> None:
    assert isinstance(state, Tensor)
    rng.set_state(state.cpu())
