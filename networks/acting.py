"""Actions of policies without a gradient, in the compiled kernel if it can compute them."""

from __future__ import annotations

import torch
from torch import Tensor

from elites.networks import library
from elites.networks.heads import LOG_STD, Deterministic, NormalHead
from elites.networks.learning import CompiledMLP
from elites.networks.structures import Perturb, Point

POINT, NORMAL = Deterministic(), NormalHead()  # the heads that the kernel knows


def tanh_action(networks: CompiledMLP, state: Tensor) -> Tensor:
    """The tanh of a policy's outputs: (R, S) -> (R, A)."""
    found = networks.rows(state)
    place = found.data_ptr()
    library.call("elites_point", Point(found.numel(), place, place))
    return found


def normal_sample(networks: CompiledMLP, state: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The tanh of mean + std · noise (R, A), the value before the tanh, and ln π (R)."""
    outputs = networks.rows(state)
    rows, actions = noise.shape
    action, raw, density = torch.empty(rows, actions), torch.empty(rows, actions), torch.empty(rows)
    place, strides = outputs.data_ptr(), [2 * actions] * 3
    given = library.Squash(rows, actions, *strides, *LOG_STD, place, place + 4 * actions, noise.data_ptr())
    given.action, given.raw, given.density = action.data_ptr(), raw.data_ptr(), density.data_ptr()
    library.call("elites_squash", given)
    return action, raw, density


def perturbed(action: Tensor, noise: Tensor, spread: float, clip: float) -> Tensor:
    """Actions in the cube [-1, 1]^A plus clipped noise: spread times standard normal `noise`."""
    given = (action, noise)
    known = noise.shape == action.shape and not action.requires_grad and library.serves(given)
    if torch.compiler.is_compiling() or not known:
        return (action + (spread * noise).clamp(-clip, clip)).clamp(-1, 1)
    found = torch.empty(action.shape)
    places = (x.data_ptr() for x in (*given, found))
    library.call("elites_perturb", Perturb(action.numel(), *places, spread, clip))
    return found
