"""Losses that the compiled kernel computes completely: value and gradients, without autograd's graph.

A loss is a normal tensor, and autograd can go back through it. But `gradients_of` first uses its `Known` gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from elites.networks import library
from elites.networks.learning import CompiledMLP, up_to_date, without_descent

if TYPE_CHECKING:
    from elites.networks.mlp import MLP

Prepared = TypeVar("Prepared")


def ready(mlp: MLP, *arrays: Tensor) -> CompiledMLP | None:
    """The networks in the kernel. None if it cannot take one of the arrays, or if one needs a gradient."""
    if library.LIBRARY is None or torch.compiler.is_compiling() or mlp.architecture.normalise_inputs:
        return None
    for x in arrays:
        if type(x) is not Tensor or not x.is_cpu or x.requires_grad or not x.is_contiguous():
            return None
        if x.dtype is not torch.float32:
            return None
    return up_to_date(mlp)


def idle(networks: CompiledMLP, key: tuple[Any, ...], prepare: Callable[[], Prepared]) -> Prepared:
    """A prepared object that is not in use, or a new one. `done` returns it."""
    try:
        found: Prepared = networks.idle[key].pop()
    except (KeyError, IndexError):
        found = prepare()
    return found


def done(networks: CompiledMLP, key: tuple[Any, ...], prepared: Any) -> None:
    networks.idle.setdefault(key, []).append(prepared)


class Known:
    """The backward pass of a loss to the parameters of a module. It works once."""

    def __init__(self, learns: Sequence[Tensor], watched: Sequence[Tensor], back: Callable[[], list[Tensor]]) -> None:
        """watched: all arrays that the loss depends on."""
        self.learns, self.watched = learns, watched
        self.back: Callable[[], list[Tensor]] | None = back
        self.versions = [x._version for x in watched]

    def gradients(self, parameters: Sequence[Tensor]) -> list[Tensor] | None:
        """The gradients of these parameters. None if autograd must find them, or must report a changed array."""
        if self.back is None or len(parameters) != len(self.learns):
            return None
        if any(a is not b for a, b in zip(parameters, self.learns, strict=True)):
            return None
        if self.versions != [x._version for x in self.watched]:
            return None
        back, self.back = self.back, None
        return back()


def known(
    value: Tensor,
    learns: Sequence[Tensor],
    others: Sequence[Tensor],
    arrays: Sequence[Tensor],
    back: Callable[[], list[Tensor]],
    composed: Callable[[], Tensor],
) -> Tensor:
    """A loss with this value, which depends on parameters and on arrays without a gradient.

    back: computes the gradients of `learns`. composed: the same loss in operations that autograd knows.
    """
    if not torch.is_grad_enabled():
        return value
    inputs = [*learns, *others]
    watched = [*inputs, *arrays]
    loss: Tensor = _Known.apply(value, composed, watched, *inputs)  # type: ignore[no-untyped-call]
    loss.known = Known(learns, watched, back)  # type: ignore[attr-defined]
    return loss


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, value: Tensor, composed: Callable[[], Tensor], watched: Sequence[Tensor], *inputs: Tensor
    ) -> Tensor:
        ctx.composed, ctx.count = composed, len(inputs)
        ctx.save_for_backward(*watched)
        return value.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        inputs, again = ctx.saved_tensors[: ctx.count], torch.is_grad_enabled()  # torch raises if they have changed
        wanted = [x for x in inputs if x.requires_grad]
        with torch.enable_grad(), without_descent():
            found = iter(torch.autograd.grad(ctx.composed(), wanted, gradient, create_graph=again))
        return None, None, None, *(next(found) if x.requires_grad else None for x in inputs)
