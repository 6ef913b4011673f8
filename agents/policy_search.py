"""A search over the weights of policies, one generation at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Generator, Tensor

from elites.agents.learner import Array, Learner, State, Transition, restore
from elites.agents.playing import Inputs, Scores, Standardiser, each_alone
from elites.agents.population import LINEAR, Policies, Population
from elites.agents.units import Spaces
from elites.fields import Checked
from elites.networks.architecture import Architecture
from elites.networks.heads import CategoricalHead, Head, NormalHead
from elites.planners.plan import Planner
from elites.planners.planner import SamplingPlanner
from elites.planners.search import Search
from elites.spaces import Choices


@dataclass(frozen=True)
class Form(Checked):
    """The form of the policies: their network, their head, and what they see.

    inputs: `running` standardises observations by the mean and spread of all observations of the search. `each`
    standardises each observation over its own entries. `raw` changes nothing.
    """

    architecture: Architecture = LINEAR
    head: NormalHead | None = None  # a normal policy; None is the tanh of the outputs, and categorical for choices
    squashed: bool = False  # whether the logits of choices are their tanh
    sampled: bool = False  # whether actions are drawn from the policy; else they are its most likely ones
    inputs: Literal["running", "each", "raw"] = "running"

    def population(self, spaces: Spaces) -> Population:
        return Population(spaces, self.architecture, self._head(spaces), self.sampled)

    def _head(self, spaces: Spaces) -> Head | None:
        choices = isinstance(spaces.world, Choices)
        if choices and self.head is not None:
            raise ValueError(f"policy.head: expected nothing for {spaces.world}, got a normal head")
        if self.squashed and not choices:
            raise ValueError(f"policy.squashed: expected false for {spaces.world}; only choices have logits")
        if self.sampled and not choices and self.head is None:
            raise ValueError("policy.sampled: expected false without a head; policy.head={} makes a normal one")
        return CategoricalHead(spaces.world.sizes, self.squashed) if isinstance(spaces.world, Choices) else self.head


class PolicySearch(Learner):
    """Asks a planner for a generation of policies, and tells it their returns.

    generations: the number of rounds; it replaces the planner's iterations. shown: the policy of `act`: the search's
    mean, the best candidate so far, or one drawn for each episode, as in Algorithm 1 of the CEM-AH paper.
    """

    def __init__(
        self,
        form: Form,
        planner: Planner,
        generations: int,
        state_size: int,
        space: object,
        seed: int = 0,
        shown: Literal["mean", "best", "drawn"] = "mean",
    ) -> None:
        self.spaces, self.form, self.shown = Spaces.of(state_size, space), form, shown
        self.population = form.population(self.spaces)
        self.rng = Generator().manual_seed(seed)
        self.search = begun(planner, generations, self.population, self.rng)
        self.standardiser = Standardiser(state_size) if form.inputs == "running" else None
        self.generation, self.episodes = 0, 0
        self._acting: tuple[int, Policies] | None = None  # the policies of `act` in N environments

    @property
    def inputs(self) -> Inputs | None:
        return each_alone if self.form.inputs == "each" else self.standardiser

    # --- a generation ------------------------------------------------------------------------------------------------

    def ask(self) -> Tensor:
        """The points (N, D) of the generation, also if it was asked for before."""
        asked = self.search.asked
        return self.search.ask() if asked is None else asked

    def tell(self, scores: Scores) -> dict[str, float]:
        """Takes the scores of the generation. Returns its figures."""
        returns, spread = scores.returns.mean(1), float(self.ask().std(0, correction=0).mean())
        self.search.tell(torch.from_numpy(returns).float())
        if self.standardiser is not None:
            self.standardiser.take(scores.seen)
        self.generation, self.episodes, self._acting = self.generation + 1, self.episodes + scores.returns.size, None
        found = returns[np.isfinite(returns)] if np.isfinite(returns).any() else np.array([np.nan])
        return {
            "return": float(found.mean()),
            "std": float(found.std()),
            "worst": float(found.min()),
            "best": float(found.max()),
            "length": float(scores.lengths.mean()),
            "spread": spread,
        }

    # --- to act ------------------------------------------------------------------------------------------------------

    def points(self, count: int) -> Tensor:
        """The points (count or 1, D) of the policies that act."""
        search = self.search
        if self.shown == "best" and search.evaluations:
            return search.found[None]
        if self.shown == "drawn":
            drawn = search.distribution.sample(search.state, search.problem.space, count, search.problem.draw)
            return search.distribution.points(drawn, search.problem.space)
        return search.distribution.centre(search.state, search.problem.space)[None]

    @torch.no_grad()
    def act(self, observation: Array, explore: bool = True) -> Array:
        seen = np.asarray(observation, np.float64)
        rows = seen.reshape(-1, seen.shape[-1])
        if self._acting is None or self._acting[0] != len(rows):
            points = self.points(len(rows))
            self._acting = len(rows), self.population.at(points, len(rows) // len(points))
        policies = self._acting[1]
        state = rows if self.inputs is None else self.inputs(rows)
        noise = policies.noise([self.rng] * len(policies), 1)
        inputs = torch.from_numpy(state.astype(np.float32)).reshape(len(policies), -1, rows.shape[1])
        action = policies.act(inputs, None if noise is None else noise[:, 0])
        taken = self.spaces.to_env(action.flatten(0, 1))
        return taken if seen.ndim > 1 else taken[0]

    def act_at_random(self, count: int) -> Array:
        return self.spaces.to_env(self.spaces.action.uniform(count, self.rng))

    def observe(self, step: Transition) -> None:
        raise NotImplementedError("a policy search learns from whole generations: see `tell`")

    # --- to save and to go on ----------------------------------------------------------------------------------------

    def non_finite(self) -> str | None:
        broken = any(not part.isfinite().all() for part in self.search.state)
        return "a distribution of policies that is not" if broken else None

    def summary(self) -> dict[str, float | str]:
        best = float(self.search.value)
        figures = {"generations": self.generation, "episodes": self.episodes, "parameters": self.population.size}
        return {**figures, **({"best_candidate": best} if np.isfinite(best) else {})}

    def state_dict(self) -> State:
        running = {} if self.standardiser is None else {"standardiser": self.standardiser.state_dict()}
        counts = {"generation": self.generation, "episodes": self.episodes}
        return {"search": self.search.state_dict(), "rng": self.rng.get_state(), **counts, **running}

    def load_state_dict(self, state: State) -> None:
        self.search.load_state_dict(state["search"])
        restore(self.rng, state["rng"])
        self.generation, self.episodes, self._acting = state["generation"], state["episodes"], None
        if self.standardiser is not None:
            self.standardiser.load_state_dict(state["standardiser"])


def begun(planner: Planner, generations: int, population: Population, rng: Generator) -> Search:
    """A search with one round for each generation. The mean is read from its state, so it asks for nothing more."""
    name = type(planner).__name__
    if not isinstance(planner, SamplingPlanner) or not hasattr(planner, "iterations"):
        raise ValueError(f"planner: expected one that samples in iterations (cem, icem, mppi, …), got {name}")
    changed: Any = {"iterations": generations} | ({"answer": "best"} if hasattr(planner, "answer") else {})
    over: SamplingPlanner = replace(cast(Any, planner), **changed)
    return over.begin(population.space, rng=rng)
