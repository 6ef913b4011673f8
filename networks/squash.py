"""Samples of squashed normals in the compiled kernel, as a function for torch's autograd."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from elites.networks import library


def serves(mean: Tensor, log_std: Tensor) -> bool:
    return (
        library.LIBRARY is not None
        and not torch.compiler.is_compiling()
        and all(type(x) is Tensor and x.dtype == torch.float32 and x.device.type == "cpu" for x in (mean, log_std))
        and mean.ndim == 2
        and mean.stride(1) == log_std.stride(1) == 1
    )


def squashed(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The action tanh(raw) (R, A), raw = mean + e^log_std · noise (R, A), and the action's log density (R)."""
    found: tuple[Tensor, Tensor, Tensor] = _Squashed.apply(mean, log_std, noise)  # type: ignore[no-untyped-call]
    return found


def log_slope(raw: Tensor) -> Tensor:
    """ln (1 - tanh² raw)."""
    return 2 * (math.log(2) - raw - functional.softplus(-2 * raw))


def in_torch(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    raw = mean + log_std.exp() * noise
    normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    return raw.tanh(), raw, (normal - log_slope(raw)).sum(-1)


def _given(mean: Tensor, log_std: Tensor, noise: Tensor) -> library.Squash:
    shape = (*mean.shape, mean.stride(0), log_std.stride(0), mean.shape[1])
    return library.Squash(*shape, -math.inf, math.inf, mean.data_ptr(), log_std.data_ptr(), noise.data_ptr())


class _Squashed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        action, raw, density = torch.empty(mean.shape), torch.empty(mean.shape), torch.empty(len(mean))
        given = _given(mean, log_std, noise)
        library.point(given, {"action": action, "raw": raw, "density": density})
        library.call("elites_squash", given)
        ctx.save_for_backward(mean, log_std, noise, action)
        return action, raw, density

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        mean, log_std, noise, action = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a gradient of this gradient
            again = in_torch(mean, log_std, noise)
            of_mean, of_std = torch.autograd.grad(again, (mean, log_std), gradients, create_graph=True)
            return of_mean, of_std, None
        of_mean, of_std = torch.empty(mean.shape), torch.empty(mean.shape)
        given, found = _given(mean, log_std, noise), {"mean_grad": of_mean, "std_grad": of_std}
        names = ("action_grad", "raw_grad", "density_grad")
        held = dict(zip(names, (each.contiguous() for each in gradients), strict=True))
        library.point(given, {"action": action, **held, **found})
        library.call("elites_squash_back", given)
        return of_mean, of_std, None
