"""CEM-AH: a hypernetwork that learns a distribution of policies from the elites of a search, against an adversary."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from elites.agents.learner import Array, State
from elites.agents.nets import Nets, Optimizer, Part
from elites.agents.playing import Inputs
from elites.agents.population import Population
from elites.agents.replay import Replay, Rows
from elites.fields import Checked, Count, Fraction, NonNegative, Range
from elites.networks.architecture import Architecture
from elites.networks.hypernetwork import Hypernetwork
from elites.networks.mlp import MLP

DISCRIMINATOR = Architecture((200, 100), "elu")
Natural = Annotated[int, Range(0)]
BLUR_HALVES = 100  # generations; with the code's 1 / generation, all policies take one mode
NO_ENDS = ("terminated", "truncated", "where")


@dataclass(frozen=True)
class Imitation(Checked):
    """How a hypernetwork imitates elites (Tang et al. 2021, Algorithm 2, lines 5 to 22).

    The paper gives M, K, the sizes of the noise and of the networks, and Adam with a rate of 1e-4. It does not give the
    numbers of steps and the discriminator. The published code has another bug-compatible schedule: there the generator
    has no gradient from the discriminator.
    """

    noises: Count = 100  # M, generated policies in a step
    states: Count = 500  # of |S_real| = 5,000 in the paper, in a step
    noise_size: Count = 100
    pretraining: Natural = 50  # G-MSE, steps of the squared error in a generation
    discriminator_steps: Natural = 100  # D-Adv, in the first generation; 5 % fewer in each later one
    generator_steps: Count = 2  # G-Adv
    ahead: Count = 10  # the least steps of the discriminator for each of the generator
    blur: NonNegative = 0.3  # the first noise on the discriminator's inputs; half of it after 100 generations
    smoothing: Fraction = 0.0  # of the discriminator's labels; 0.1 in the published code
    members: Count = 10  # K, policies of the ensemble
    capacity: Count = 200_000  # |Φ|; 1e8 in the paper, which needs 97 GB for the maze
    optimizer: Optimizer = Optimizer(1e-4)  # of the hypernetwork
    discriminator_optimizer: Optimizer = Optimizer(1e-3)  # with the generator's rate all policies take one mode


class GeneratorNets(Nets):
    generator: Hypernetwork
    discriminator: MLP


class Imitator:
    """The hypernetwork, its adversary, and the elites' states and actions."""

    def __init__(self, settings: Imitation, population: Population, rng: Generator) -> None:
        self.settings, self.population, self.rng = settings, population, rng
        spaces = population.spaces
        sizes = [math.prod(shape) for shape in population.shapes]
        parts = {
            "generator": Part(Hypernetwork(settings.noise_size, sizes, rng), settings.optimizer),
            "discriminator": Part(
                MLP(DISCRIMINATOR, spaces.state_size + spaces.action_size, 1, 1, rng, linear=True),
                settings.discriminator_optimizer,
            ),
        }
        self.nets = GeneratorNets(spaces, rng, parts)
        schema = {"state": (spaces.state_size,), "action": (spaces.action_size,), "value": (1,)}
        self.replay = Replay(schema, settings.capacity)
        self.generation, self.changed = 0, False  # of the last lesson; whether the replay has changed since

    # --- the elites' tuples -------------------------------------------------------------------------------------------

    def admits(self, value: float) -> bool:
        """Whether elites with this mean return are at least as good as those in the replay (line 5)."""
        return not len(self.replay) or value >= float(self.replay.column("value").mean())

    def take(self, points: Tensor, states: Sequence[Array], value: float, inputs: Inputs | None) -> None:
        """Adds the states (T, S) that each of the elites (E, D) visited, with its answers there (line 6)."""
        for point, visited in zip(points, states, strict=True):
            answers = self.population.at(point[None], len(visited)).answers(prepared(visited, inputs)[None])[0]
            never = np.zeros(len(visited), dtype=np.int32)
            rows: dict[str, Array | Tensor] = {"state": visited, "action": answers}
            rows["value"] = np.full((len(visited), 1), value)
            self.replay.extend(rows | dict.fromkeys(NO_ENDS, never))
        self.changed = True

    # --- lessons -----------------------------------------------------------------------------------------------------

    def learn(self, generation: int, inputs: Inputs | None, progress: Callable[[str], None]) -> dict[str, float]:
        """The lesson after a generation (lines 7 to 22). Returns its figures.

        As the text says, the generator is pre-trained when the replay has changed.
        """
        of, decay = self.settings, 0.95 ** (generation - 1)
        least = of.ahead * of.generator_steps
        adversarial = max(least, round(of.discriminator_steps * decay)) if of.discriminator_steps else 0
        figures: dict[str, float] = {}
        for step in range(of.pretraining if self.changed else 0):
            figures["squared_error"] = self._descend("generator", self.squared_error(self.batch(inputs)))
            progress(f"the hypernetwork imitates elites  step {step + 1}/{of.pretraining}")
        for step in range(adversarial):
            figures["discriminator_loss"] = self._descend("discriminator", self.against(self.batch(inputs)))
            progress(f"the discriminator learns  step {step + 1}/{adversarial}")
        for _ in range(of.generator_steps if adversarial else 0):
            figures["generator_loss"] = self._descend("generator", self.fooling(self.batch(inputs)))
        self.generation, self.changed = generation, False
        return figures

    def _descend(self, name: str, loss: Tensor) -> float:
        self.nets.descend(name, loss)
        return float(loss.detach())

    def batch(self, inputs: Inputs | None) -> Rows:
        """M equal groups of states, as policies see them, and the elites' answers: (M, n, ·)."""
        of = self.settings
        rows = self.replay.sample(of.noises * -(-of.states // of.noises), self.rng)
        both = {"state": prepared(rows.state.numpy(), inputs), "action": rows.action}
        return Rows({name: x.reshape(of.noises, -1, x.shape[1]) for name, x in both.items()})

    def fake(self, state: Tensor) -> Tensor:
        """Answers (M, n, A) of M generated policies, each at its own states (M, n, S) (lines 24 to 31)."""
        points = self.nets.generator.drawn(len(state), self.rng)
        return self.population.at(points, state.shape[1]).answers(state)

    def squared_error(self, batch: Rows) -> Tensor:
        """L_pre, line 11. It is least if all policies give the mean of the elites' answers."""
        return functional.mse_loss(self.fake(batch.state), batch.action)

    def against(self, batch: Rows) -> Tensor:
        """-E log D(real) - E log(1 - D(fake)), the negative of eq. 1. Line 18 of the paper has the wrong sign."""
        with torch.no_grad():
            fake = self.fake(batch.state)
        truth = self.settings.smoothing
        real = self.judged(batch.state, batch.action)
        made = self.judged(batch.state, fake)
        return functional.binary_cross_entropy_with_logits(
            real, torch.full_like(real, 1 - truth)
        ) + functional.binary_cross_entropy_with_logits(made, torch.full_like(made, truth))

    def fooling(self, batch: Rows) -> Tensor:
        """L_G, eq. 2: -E log D(fake)."""
        return functional.softplus(-self.judged(batch.state, self.fake(batch.state))).mean()

    def judged(self, state: Tensor, action: Tensor) -> Tensor:
        """The discriminator's logits (R) for states (M, n, S) and answers (M, n, A), with decaying noise on both."""
        pairs = torch.cat([state, action], -1).flatten(0, 1)
        blur = self.settings.blur / (1 + self.generation / BLUR_HALVES)
        return self.nets.discriminator.alone(pairs + blur * self.nets.normal(pairs))[:, 0]

    # --- to act ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def drawn(self, count: int) -> Tensor:
        """The points (count, D) of generated policies."""
        return self.nets.generator.drawn(count, self.rng)

    def state_dict(self) -> State:
        counts = {"generation": self.generation, "changed": self.changed}
        return {"nets": self.nets.state_dict(), "replay": self.replay.state_dict(), **counts}

    def load_state_dict(self, state: State) -> None:
        self.nets.load_state_dict(state["nets"])
        self.replay.load_state_dict(state["replay"])
        self.generation, self.changed = state["generation"], state["changed"]


def prepared(observation: Array, inputs: Inputs | None) -> Tensor:
    """Observations (…, S) as policies see them."""
    seen = np.asarray(observation, np.float64)
    return torch.from_numpy((seen if inputs is None else inputs(seen)).astype(np.float32))
