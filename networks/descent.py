"""The steps after the gradients: Adam's step and slow copies, in the compiled kernel if it can compute them."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from elites.networks import library

STATE = ("exp_avg", "exp_avg_sq", "step")


def sizes(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_int64]:
    return library.integers([x.numel() for x in tensors])


def changed(tensors: Sequence[Tensor]) -> None:
    """Tells autograd that these tensors changed, so that a later backward pass through their old values raises."""
    for tensor in tensors:
        increment_version(tensor)


class Steps:
    """The kernel's steps of an optimizer's group. The state is torch's own."""

    def __init__(self, decoupled: bool) -> None:
        self.decoupled = decoupled  # subtract the decay from the weights, instead of adding it to the gradient
        self.addresses: list[int] = []  # of the arrays when the pointers were made

    def __reduce__(self) -> tuple[type[Steps], tuple[bool]]:
        """A copy has other arrays, so it makes its own pointers."""
        return Steps, (self.decoupled,)

    def serves(self, optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> bool:
        """Whether the kernel can take the next step."""
        self.weights = weights = [weight for weight in group["params"] if weight.grad is not None]
        if not weights or group["amsgrad"] or group["maximize"]:
            return False
        self.first = _state(optimizer, weights[0])
        addresses = [x.data_ptr() for weight in weights for x in (weight, weight.grad)]
        addresses.append(self.first["exp_avg"].data_ptr())
        return addresses == self.addresses or self._point(optimizer, weights, addresses)

    def step(self, group: dict[str, Any]) -> None:
        step = library.Adam(len(self.weights), *library.places(*self.pointers))
        self._rates(step, group, 1 + self.first["step"].item())
        library.call("elites_adam", step)
        changed(self.weights)

    def _point(self, optimizer: torch.optim.Optimizer, weights: list[Tensor], addresses: list[int]) -> bool:
        states = [_state(optimizer, weight) for weight in weights]
        arrays = [weights, *([state[name] for state in states] for name in STATE), [x.grad for x in weights]]
        if not library.serves(itertools.chain(*arrays)):
            return False
        self.pointers: list[ctypes.Array[Any]] = [sizes(weights), *map(library.addresses, arrays)]
        self.addresses = addresses
        return True

    def _rates(self, step: library.Adam, group: dict[str, Any], count: float) -> None:
        (beta1, beta2), decay = group["betas"], group["weight_decay"]
        step.rate, step.beta1, step.beta2 = group["lr"] / (1 - beta1**count), beta1, beta2
        step.epsilon, step.unbiased = group["eps"], (1 - beta2**count) ** -0.5
        step.decay, step.shrinkage = (0.0, group["lr"] * decay) if self.decoupled else (decay, 0.0)
        step.threads = torch.get_num_threads()


def _state(optimizer: torch.optim.Optimizer, weight: Tensor) -> dict[str, Any]:
    """The state of a weight; a new state starts as in torch."""
    state: dict[str, Any] = optimizer.state[weight]
    if not state:
        averages = {name: torch.zeros_like(weight) for name in STATE[:2]}
        state |= {"step": torch.zeros((), device=weight.device), **averages}
    return state


def _stepped(optimizer: torch.optim.Optimizer, steps: list[Steps], decoupled: bool) -> bool:
    """Takes a step of all groups in the kernel, if it can. Whether it did."""
    groups = optimizer.param_groups
    steps.extend(Steps(decoupled) for _ in groups[len(steps) :])
    if not all(each.serves(optimizer, group) for each, group in zip(steps, groups, strict=True)):
        return False
    for each, group in zip(steps, groups, strict=True):
        each.step(group)
    return True


class Adam(torch.optim.Adam):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.steps: list[Steps] = []

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        return None if closure is None and _stepped(self, self.steps, False) else super().step(closure)

    step.hooked = True  # type: ignore[attr-defined]  # else torch wraps it in a profiler record, which takes as long


class AdamW(torch.optim.AdamW):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.steps: list[Steps] = []

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        return None if closure is None and _stepped(self, self.steps, True) else super().step(closure)

    step.hooked = True  # type: ignore[attr-defined]


class Following:
    """slow ← slow + τ (fast - slow), for lists of arrays."""

    def __init__(self, slow: Sequence[Tensor], fast: Sequence[Tensor]) -> None:
        self.slow, self.fast = slow, fast
        self.addresses: list[int] = []  # of the arrays when the pointers were made

    def __getstate__(self) -> dict[str, Any]:
        """A copy has other arrays, so it makes its own pointers."""
        return {"slow": self.slow, "fast": self.fast, "addresses": []}

    def step(self, tau: float) -> None:
        addresses = [x.data_ptr() for some in (self.slow, self.fast) for x in some]
        if addresses != self.addresses:
            if not library.serves([*self.slow, *self.fast]):
                torch._foreach_lerp_(list(self.slow), list(self.fast), tau)
                return
            self.pointers: list[ctypes.Array[Any]] = [sizes(self.slow), *map(library.addresses, (self.slow, self.fast))]
            self.addresses = addresses
        step = library.Follow(len(self.slow), *library.places(*self.pointers), tau, torch.get_num_threads())
        library.call("elites_follow", step)
        changed(self.slow)
