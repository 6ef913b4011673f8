"""The learned state of an algorithm: named modules with their optimizers and slow copies, and the generator."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Generator, Tensor, nn

from elites.agents.learner import State
from elites.agents.units import Spaces
from elites.fields import Checked, Fraction, NonNegative, Positive
from elites.networks.descent import Adam, AdamW
from elites.networks.learning import gradients_of
from elites.networks.targets import Follower, slow_copy

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Optimizer(Checked):
    """The optimizer of a module."""

    rate: Positive = 1e-3  # learning rate
    kind: Literal["adam", "adamw", "sgd"] = "adam"
    decay: NonNegative = 0.0  # weight decay
    clip: Positive | None = None  # the gradient's largest norm
    momentum: Fraction = 0.0  # for sgd
    epsilon: Positive = 1e-8  # of adam and adamw, added to the root of the mean square

    def over(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        if self.kind == "sgd":
            return torch.optim.SGD(parameters, self.rate, momentum=self.momentum, weight_decay=self.decay)
        kind = Adam if self.kind == "adam" else AdamW
        options = {"fused": True, "capturable": parameters[0].is_cuda}  # capturable: its step can be in a CUDA graph
        return kind(parameters, self.rate, eps=self.epsilon, weight_decay=self.decay, **options)


@dataclass(frozen=True, eq=False)
class Part:
    """A module of an algorithm. slow: whether a slow copy follows it."""

    module: nn.Module
    optimizer: Optimizer | None = Optimizer()  # None: only `Nets.set` changes its weights
    slow: bool = False


class Nets:
    """The modules as attributes, `slow` copies of some of them, the spaces and the generator.

    A subclass declares the modules and their types, for readers and type checkers:

        class ActorCritic(Nets):
            critics: Critics
            policy: Policy
    """

    slow: Self  # only modules whose Part has slow=True

    def __init__(self, spaces: Spaces, rng: Generator, parts: Mapping[str, Part]) -> None:
        self.spaces, self.rng, self.parts = spaces, rng, parts
        self.modules = {name: part.module for name, part in parts.items()}
        self.copies = {name: slow_copy(part.module) for name, part in parts.items() if part.slow}
        self.slow = cast("Self", SimpleNamespace(**self.copies))
        if taken := [name for name in parts if hasattr(self, name)]:
            raise ValueError(f"Nets: expected a module name that Nets does not use, got {taken[0]!r}")
        vars(self).update(self.modules)
        self._parameters = {name: list(module.parameters()) for name, module in self.modules.items()}
        self._followers = {name: Follower(slow, self.modules[name]) for name, slow in self.copies.items()}
        self._optimizers = {
            name: part.optimizer.over(self._parameters[name]) for name, part in parts.items() if part.optimizer
        }

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers in the shape of `like`."""
        return torch.randn(like.shape, generator=self.rng, device=like.device, dtype=like.dtype)

    def descend(self, name: str, loss: Tensor) -> None:
        """An optimizer step of this module's parameters. Other modules in the loss stay as they are."""
        if name not in self._optimizers:
            raise ValueError(f"update: expected a loss of one of {', '.join(self._optimizers)}, got one of {name!r}")
        parameters, part = self._parameters[name], self.parts[name]
        if not loss.requires_grad:
            raise ValueError(f"update: expected a loss of {name!r} with a gradient, got one without")
        for parameter, gradient in zip(parameters, gradients_of(loss, parameters), strict=True):
            if gradient is None:
                raise ValueError(f"update: expected a loss of {name!r} that depends on all its parameters, got another")
            parameter.grad = gradient
        if part.optimizer and part.optimizer.clip:
            nn.utils.clip_grad_norm_(parameters, part.optimizer.clip)
        self._optimizers[name].step()

    def vector(self, name: str) -> Tensor:
        """A module's weights as one vector."""
        return nn.utils.parameters_to_vector(self._parameters[name]).detach()

    @torch.no_grad()
    def set(self, name: str, vector: Tensor) -> None:
        """Sets a module's weights from a vector, in the order of `vector()`."""
        parameters = self._parameters[name]
        sizes = [parameter.numel() for parameter in parameters]
        if vector.shape != (sum(sizes),):
            raise ValueError(f"set: expected {sum(sizes)} weights of {name!r}, got shape {tuple(vector.shape)}")
        for parameter, weights in zip(parameters, torch.split(vector, sizes), strict=True):
            parameter.copy_(weights.view_as(parameter))

    def follow(self, tau: float, *names: str) -> None:
        """Moves the slow copies of these modules, or of all: slow ← slow + τ (fast - slow)."""
        for name in names or self.copies:
            self._followers[name](tau)

    def non_finite(self) -> str | None:
        """The first module with weights that are not finite, if any."""
        for name, module in (self.modules | {f"slow {name}": slow for name, slow in self.copies.items()}).items():
            if not all(value.isfinite().all() for value in module.state_dict().values()):
                return name
        return None

    def state_dict(self) -> State:
        optimizers = {
            name: {"kind": self._kind(name), "state": optimizer.state_dict()["state"]}
            for name, optimizer in self._optimizers.items()
        }
        groups = {"modules": self.modules, "slow": self.copies}
        states = {group: {name: dict(of.state_dict()) for name, of in held.items()} for group, held in groups.items()}
        return states | {"optimizers": optimizers}

    def load_state_dict(self, state: State) -> None:
        """Loads weights and optimizer states. Learning rates stay, because settings can have changed."""
        for group, mine in (("modules", self.modules), ("slow", self.copies), ("optimizers", self._optimizers)):
            if state[group].keys() != mine.keys():
                raise RuntimeError(f"expected {group} {', '.join(mine)}, found {', '.join(state[group])}")
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, slow in self.copies.items():
            slow.load_state_dict(state["slow"][name])
        for name, optimizer in self._optimizers.items():
            given = state["optimizers"][name]
            if given["kind"] != self._kind(name):
                raise RuntimeError(f"expected an optimizer of {name} that is {self._kind(name)}, found {given['kind']}")
            numbered = {int(number): of for number, of in given["state"].items()}  # they are strings in a checkpoint
            optimizer.load_state_dict(optimizer.state_dict() | {"state": copy.deepcopy(numbered)})

    def _kind(self, name: str) -> str:
        part = self.parts[name]
        return part.optimizer.kind if part.optimizer else ""
