"""Losses that the compiled kernel computes whole: value and gradients without a walk through autograd's graph.

A loss is a tensor like any other: autograd goes back through it. But `gradients_of` asks what is `Known` of it first.
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
    """These networks in the kernel, where all the arrays are such as it takes, and none has a gradient."""
    if library.LIBRARY is None or torch.compiler.is_compiling() or mlp.architecture.normalise_inputs:
        return None
    for x in arrays:
        if type(x) is not Tensor or not x.is_cpu or x.requires_grad or not x.is_contiguous():
            return None
        if x.dtype is not torch.float32:
            return None
    return up_to_date(mlp)


def idle(networks: CompiledMLP, key: tuple[Any, ...], prepare: Callable[[], Prepared]) -> Prepared:
    """What is prepared and nobody uses; it comes back by `done`."""
    try:
        found: Prepared = networks.idle[key].pop()
    except (KeyError, IndexError):
        found = prepare()
    return found


def done(networks: CompiledMLP, key: tuple[Any, ...], prepared: Any) -> None:
    networks.idle.setdefault(key, []).append(prepared)


class Known:
    """Of a loss: how it goes back to the parameters of a module, once."""

    def __init__(self, learns: Sequence[Tensor], watched: Sequence[Tensor], back: Callable[[], list[Tensor]]) -> None:
        """watched: all arrays that the loss depends on."""
        self.learns, self.watched = learns, watched
        self.back: Callable[[], list[Tensor]] | None = back
        self.versions = [x._version for x in watched]

    def gradients(self, parameters: Sequence[Tensor]) -> list[Tensor] | None:
        """Of all these; None where autograd has to find them, or to say that something has changed since."""
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
    """The loss of this value, of parameters and of arrays without a gradient.

    back: puts down the gradients of those that it is for. composed: the same loss in operations that autograd knows.
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
        inputs, again = ctx.saved_tensors[: ctx.count], torch.is_grad_enabled()  # torch says so where they have changed
        wanted = [x for x in inputs if x.requires_grad]
        with torch.enable_grad(), without_descent():
            found = iter(torch.autograd.grad(ctx.composed(), wanted, gradient, create_graph=again))
        return None, None, None, *(next(found) if x.requires_grad else None for x in inputs)
