"""Trajectories in compiled code, for float32 on CPUs and encodings that are `Features`."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import c_float, c_int32, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from elites.dynamics.closed_loop import TanhPolicies
from elites.dynamics.rollout import Draw
from elites.features import Features
from elites.networks import library
from elites.networks.engine import Precision
from elites.networks.layers import Normalised
from elites.networks.native import NATIVE, CompiledNetworks, activations_of

WIDEST = 64  # the most units of a policy's layer, as in networks/kernel/rollout.h


class Model(ctypes.Structure):
    """As in networks/kernel/interface.h."""

    _fields_ = (
        *library.fields(c_void_p, "networks"),
        *library.fields(c_int32, "state action features mixed"),
        *library.fields(c_void_p, "entry kind relative low high"),
    )


class Rollout(ctypes.Structure):
    """As in networks/kernel/interface.h."""

    _fields_ = (
        *library.fields(c_int64, "rows candidates particles horizon share"),
        *library.fields(c_void_p, "met"),
        *library.fields(c_int64, "met_run met_step"),
        *library.fields(c_void_p, "state actions epsilon"),
        *library.fields(c_int64, "particle_stride row_stride step_stride seed"),
        *library.fields(c_void_p, "states saved states_grad actions_grad state_grad scratch"),
        *library.fields(c_int64, "threads"),
        *library.fields(c_void_p, "policies"),
    )


class Policies(ctypes.Structure):
    """As in networks/kernel/interface.h."""

    _fields_ = (
        *library.fields(c_int32, "layers"),
        *library.fields(c_float, "leak"),
        *library.fields(c_void_p, "widths activations"),
        *library.fields(c_int64, "size"),
        *library.fields(c_void_p, "weights centre half actions"),
    )


class CompiledModel:
    """The model of a draw in the library's form. It owns the memory to which its structure points."""

    def __init__(self, draw: Draw, precision: Precision) -> None:
        (groups, inputs, _), size = draw.layers[0].weight.shape, len(draw.relative)
        kept = 1 if draw.met is None and not draw.mixed else groups
        self.networks = CompiledNetworks(draw.layers, precision, kept)
        seen = draw.encode if isinstance(draw.encode, Features) else Features(*range(size))
        self.arrays = {
            "entry": torch.tensor([entry for _, entry in seen.columns], dtype=torch.int32),
            "kind": torch.tensor([("same", "sin", "cos").index(kind) for kind, _ in seen.columns], dtype=torch.int32),
            "relative": draw.relative,
        }
        if draw.noise:
            self.arrays |= {"low": draw.noise.low.contiguous(), "high": draw.noise.high.contiguous()}
        features, mixed = len(seen.columns), groups if draw.mixed else 1
        networks = ctypes.addressof(self.networks.structure)
        self.structure = Model(networks, size, inputs - features, features, mixed)
        library.point(self.structure, self.arrays)
        self.sizes = library.Sizes()
        library.call("elites_rollout_sizes", self.structure, self.sizes)
        self.share, self.met = draw.particles // groups or 1, torch.arange(groups, dtype=torch.int32)
        if draw.met is not None:
            self.share, self.met = 1, draw.met.t().to(torch.int32).contiguous()


class NativeRollout:
    """The compiled engine. A call uses as many threads as torch."""

    name = NATIVE.name

    def serves(self, draw: Draw, state: Tensor, actions: Tensor) -> bool:
        known = draw.encode is None or isinstance(draw.encode, Features)
        return known and NATIVE.serves(draw.layers, draw.relative, state, actions)

    def forward(
        self, draw: Draw, first: Tensor, moves: Tensor, save: bool, precision: Precision = "float32"
    ) -> tuple[Tensor, Any]:
        model = _compiled(draw, "float32" if save else precision)
        states = moves.new_empty(len(moves), draw.particles, moves.shape[1], first.shape[-1])
        saved = moves.new_empty(draw.particles, *moves.shape[:2], model.sizes.saved) if save else None
        given = {"actions": moves.contiguous(), "states": states, "saved": saved}
        _call("elites_rollout", model, draw, first, moves.shape[:2], given)
        return states, saved

    def backward(
        self, draw: Draw, first: Tensor, moves: Tensor, states: Tensor, saved: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        model = _compiled(draw, "float32")
        to_moves = moves.new_empty(draw.particles, *moves.shape)
        to_state = moves.new_empty(draw.particles, len(moves), first.shape[-1])
        given = {"actions": moves.contiguous(), "states": states, "saved": saved, "states_grad": gradient.contiguous()}
        results = {"actions_grad": to_moves, "state_grad": to_state}
        _call("elites_rollout_backward", model, draw, first, moves.shape[:2], given | results)
        return to_state.sum(0).reshape(len(first), -1, first.shape[-1]).sum(1), to_moves.sum(0)


class NativeReaction:
    """Closed-loop trajectories in compiled code, without gradients."""

    name = NATIVE.name

    def serves(self, draw: Draw, first: Tensor, by: TanhPolicies) -> bool:
        """Whether the kernel knows these policies and this model, and nobody asks for a gradient."""
        known = draw.encode is None or isinstance(draw.encode, Features)
        widths = [layer.weight.shape[2] for layer in by.layers]
        plain = not any(isinstance(layer.activation, Normalised) for layer in by.layers)
        learns = torch.is_grad_enabled() and any(x.requires_grad for x in (first, by.layers[0].weight))
        return (
            known
            and plain
            and not learns
            and max(widths) <= WIDEST
            and NATIVE.serves(draw.layers, draw.relative, first)
            and NATIVE.serves(by.layers, by.centre)
        )

    def forward(
        self, draw: Draw, first: Tensor, by: TanhPolicies, horizon: int, precision: Precision = "float32"
    ) -> tuple[Tensor, Tensor]:
        """state (B, S), R policies -> actions (R, P, H, A), states (R, P, H, S)."""
        model, rows, size = _compiled(draw, precision), len(by.layers[0].weight), len(by.centre)
        actions = first.new_empty(rows, draw.particles, horizon, size)
        states = first.new_empty(rows, draw.particles, horizon, first.shape[-1])
        numbers, leak = activations_of(by.layers) or ([], 0.0)
        weights = torch.cat([x.flatten(1) for layer in by.layers for x in (layer.weight, layer.bias)], 1)
        policies = Policies(len(by.layers), leak, size=weights.shape[1])
        arrays = {
            "widths": torch.tensor([*(x.weight.shape[1] for x in by.layers), size], dtype=torch.int32),
            "activations": torch.tensor(numbers, dtype=torch.int32),
            "weights": weights,
            "centre": by.centre.contiguous(),
            "half": by.half.contiguous(),
            "actions": actions,
        }
        library.point(policies, arrays)
        _call("elites_rollout", model, draw, first, (rows, horizon), {"states": states}, policies)
        return actions, states


def _compiled(draw: Draw, precision: Precision) -> CompiledModel:
    found = draw.cache.get(precision)
    if not isinstance(found, CompiledModel):
        found = draw.cache[precision] = CompiledModel(draw, precision)
    return found


def _call(
    name: str,
    model: CompiledModel,
    draw: Draw,
    first: Tensor,
    shape: Sequence[int],
    given: Mapping[str, Tensor | None],
    policies: Policies | None = None,
) -> None:
    """shape: rows and horizon."""
    (rows, horizon), threads = shape, torch.get_num_threads()
    first, scratch = first.contiguous(), library.scratch(model.sizes)
    arrays = {"state": first, "scratch": scratch, "met": model.met, **given}
    structure = Rollout(rows, rows // len(first), draw.particles, horizon, model.share, threads=threads)
    structure.met_run = model.met.stride(0)
    structure.met_step = model.met.stride(-1) if model.met.ndim > 1 else 0  # 0: particles stay with their networks
    epsilon = None if draw.noise is None else draw.noise.epsilon
    if isinstance(epsilon, int):
        structure.seed = epsilon
    elif epsilon is not None:
        arrays["epsilon"] = epsilon
        structure.particle_stride, structure.row_stride, structure.step_stride, _ = epsilon.stride()
        if epsilon.shape[1] == 1:
            structure.row_stride = 0
    if policies is not None:
        structure.policies = ctypes.addressof(policies)
    library.point(structure, arrays)
    library.call(name, model.structure, structure)
