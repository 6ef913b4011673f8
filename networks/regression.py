"""The squared error of critics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from elites.networks import library


def regression(values: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Σ over critics of the mean of (value - target)², for values (M, R) and targets (R); and the mean value."""
    fits = values.ndim == 2 and values.shape[1:] == target.shape
    if torch.compiler.is_compiling() or not fits or not library.serves((values, target)):
        loss = functional.mse_loss(values, target.expand_as(values), reduction="sum") / len(target)
        return loss, {"value": values.mean()}
    loss, mean = _Regression.apply(values, target)  # type: ignore[no-untyped-call]
    return loss, {"value": mean}


class _Regression(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        loss, mean, rates = torch.empty(()), torch.empty(()), torch.empty(values.shape)
        given = library.Regression(*values.shape)
        library.point(given, {"values": values, "target": target, "loss": loss, "mean": mean, "rates": rates})
        library.call("elites_regression", given)
        ctx.save_for_backward(values, target, rates)
        ctx.mark_non_differentiable(mean)
        return loss, mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor | None]:
        values, target, rates = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a gradient of this gradient
            rates = (values - target) * (2 / len(target))
        back = rates * gradient
        return back, -back.sum(0) if ctx.needs_input_grad[1] else None
