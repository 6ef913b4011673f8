"""A search over the weights of policies, one generation at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Generator, Tensor

from elites.agents.adversarial import Imitation, Imitator, prepared
from elites.agents.learner import Array, Learner, State, Transition, restore
from elites.agents.playing import Inputs, Scores, Standardiser, each_alone
from elites.agents.population import LINEAR, Policies, Population
from elites.agents.units import Spaces
from elites.fields import Checked
from elites.networks.action_distributions import CategoricalAction
from elites.networks.architecture import Architecture
from elites.networks.heads import CategoricalHead, Head, NormalHead
from elites.planners.plan import Planner
from elites.planners.planner import SamplingPlanner
from elites.planners.search import Search
from elites.spaces import Choices

Shown = Literal["mean", "best", "drawn", "generated", "ensemble"]


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
    mean, the best candidate so far, or one drawn for each episode, as in Algorithm 1 of the CEM-AH paper. imitation:
    adds a hypernetwork that imitates the elites (Algorithm 2). Then `generated` policies or their `ensemble` can act.
    """

    def __init__(
        self,
        form: Form,
        planner: Planner,
        generations: int,
        state_size: int,
        space: object,
        seed: int = 0,
        shown: Shown = "mean",
        imitation: Imitation | None = None,
    ) -> None:
        self.spaces, self.form, self.planner, self.shown = Spaces.of(state_size, space), form, planner, shown
        self.population = form.population(self.spaces)
        self.rng = Generator().manual_seed(seed)
        self.search = begun(planner, generations, self.population, self.rng)
        self.standardiser = Standardiser(state_size) if form.inputs == "running" else None
        self.imitator = Imitator(imitation, self.population, self.rng) if imitation else None
        if shown in ("generated", "ensemble") and not imitation:
            raise ValueError(f"shown: expected mean, best or drawn without imitation, got {shown}")
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

    # --- imitation ---------------------------------------------------------------------------------------------------

    def to_record(self, scores: Scores) -> Array | None:
        """The elites (E) of the generation, best first, if the imitator wants what they see."""
        if self.imitator is None:
            return None
        returns = np.nan_to_num(scores.returns.mean(1), nan=-np.inf)
        elites = np.argsort(-returns, kind="stable")[: self.elites]
        return elites if np.isfinite(returns[elites]).all() and self.imitator.admits(returns[elites].mean()) else None

    @property
    def elites(self) -> int:
        """The number of candidates that the hypernetwork imitates: the planner's elites, or 10 %."""
        return int(getattr(self.planner, "elites", max(1, len(self.ask()) // 10)))

    def record(self, elites: Array, again: Scores) -> None:
        """Takes what the elites saw when they played the generation again. Call it before `tell`."""
        assert self.imitator is not None
        points = self.ask()[torch.from_numpy(elites)]
        self.imitator.take(points, again.visited, float(again.returns.mean()), self.inputs)

    def due(self, episode_begins: bool = False) -> bool:
        return (
            self.imitator is not None and self.imitator.generation < self.generation and len(self.imitator.replay) > 0
        )

    def learn(self, progress: Callable[[str], None]) -> dict[str, float]:
        assert self.imitator is not None
        self._acting = None
        return self.imitator.learn(self.generation, self.inputs, progress)

    # --- to act ------------------------------------------------------------------------------------------------------

    @property
    def uncertain(self) -> str | None:
        """Why `act` has no certain answer to an observation, in words; None if it has one."""
        if self.form.sampled:
            return "policy.sampled=true"
        return f"shown={self.shown}, a policy for each episode" if self.shown in ("drawn", "generated") else None

    def points(self, count: int) -> Tensor:
        """The points (count, 1 or K, D) of the policies that act."""
        search = self.search
        if self.imitator is not None and self.shown in ("generated", "ensemble"):
            return self.imitator.drawn(self.imitator.settings.members if self.shown == "ensemble" else count)
        if self.shown == "best" and search.evaluations:
            return search.found[None]
        if self.shown == "drawn":
            drawn = search.distribution.sample(search.state, search.problem.space, count, search.problem.draw)
            return search.distribution.points(drawn, search.problem.space)
        return search.distribution.centre(search.state, search.problem.space)[None]

    def acting(self, rows: int) -> Policies:
        """The policies of `act` in this many environments, until the next generation."""
        if self._acting is None or self._acting[0] != rows:
            points, ensemble = self.points(rows), self.shown == "ensemble"
            self._acting = rows, self.population.at(points, rows if ensemble else rows // len(points))
        return self._acting[1]

    @torch.no_grad()
    def act(self, observation: Array, explore: bool = True) -> Array:
        seen = np.asarray(observation, np.float64)
        rows = seen.reshape(-1, seen.shape[-1])
        state, policies = prepared(rows, self.inputs), self.acting(len(rows))
        action = self._together(policies, state) if self.shown == "ensemble" else self._apart(policies, state)
        taken = self.spaces.to_env(action)
        return taken if seen.ndim > 1 else taken[0]

    def _apart(self, policies: Policies, state: Tensor) -> Tensor:
        """Each policy at its own states (R, S)."""
        noise = policies.noise([self.rng] * len(policies), 1)
        inputs = state.reshape(len(policies), -1, state.shape[1])
        return policies.act(inputs, None if noise is None else noise[:, 0]).flatten(0, 1)

    def _together(self, policies: Policies, state: Tensor) -> Tensor:
        """The ensemble (sec. 4.2.2): the mean of actions, or a choice from softmax[Σ π(a | s)]."""
        answers = policies.answers(state.expand(len(policies), -1, -1))
        if not isinstance(self.spaces.world, Choices):
            return answers.mean(0)
        of = CategoricalAction(answers.sum(0), self.spaces.world.sizes)
        return of.sample(self.rng).action if self.form.sampled else of.mode()

    def act_at_random(self, count: int) -> Array:
        return self.spaces.to_env(self.spaces.action.uniform(count, self.rng))

    def observe(self, step: Transition) -> None:
        raise NotImplementedError("a policy search learns from whole generations: see `tell`")

    # --- to save and to go on ----------------------------------------------------------------------------------------

    def non_finite(self) -> str | None:
        if any(not part.isfinite().all() for part in self.search.state):
            return "a distribution of policies that is not"
        if self.imitator is not None and (name := self.imitator.nets.non_finite()):
            return f"weights of the {name} that are not (a smaller learning rate may help)"
        return None

    def summary(self) -> dict[str, float | str]:
        best = float(self.search.value)
        figures = {"generations": self.generation, "episodes": self.episodes, "parameters": self.population.size}
        return {**figures, **({"best_candidate": best} if np.isfinite(best) else {})}

    def state_dict(self) -> State:
        parts = {"standardiser": self.standardiser, "imitator": self.imitator}
        held = {name: part.state_dict() for name, part in parts.items() if part is not None}
        counts = {"generation": self.generation, "episodes": self.episodes}
        return {"search": self.search.state_dict(), "rng": self.rng.get_state(), **counts, **held}

    def load_state_dict(self, state: State) -> None:
        self.search.load_state_dict(state["search"])
        restore(self.rng, state["rng"])
        self.generation, self.episodes, self._acting = state["generation"], state["episodes"], None
        if self.standardiser is not None:
            self.standardiser.load_state_dict(state["standardiser"])
        if self.imitator is not None:
            self.imitator.load_state_dict(state["imitator"])


def begun(planner: Planner, generations: int, population: Population, rng: Generator) -> Search:
    """A search with one round for each generation. The mean is read from its state, so it asks for nothing more."""
    name = type(planner).__name__
    if not isinstance(planner, SamplingPlanner) or not hasattr(planner, "iterations"):
        raise ValueError(f"planner: expected one that samples in iterations (cem, icem, mppi, …), got {name}")
    changed: Any = {"iterations": generations} | ({"answer": "best"} if hasattr(planner, "answer") else {})
    over: SamplingPlanner = replace(cast(Any, planner), **changed)
    return over.begin(population.space, rng=rng)
