"""Trajectories in compiled code, for float32 on CPUs and encodings that are `Features`."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import c_float, c_int32, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from elites.dynamics.closed_loop import TanhPolicies
from elites.dynamics.rollout import Draw
from elites.features import Features
from elites.networks import library
from elites.networks.engine import Precision
from elites.networks.layers import Normalised
from elites.networks.native import NATIVE, CompiledNetworks, activations_of

DEEPEST, WIDEST = 4, 64  # the most layers of a policy, and units of a layer, as in networks/kernel/rollout.h


class Model(ctypes.Structure):
    """As in networks/kernel/interface.h."""

    _fields_ = (
        *library.fields(c_void_p, "networks"),
        *library.fields(c_int32, "state action features mixed"),
        *library.fields(c_void_p, "entry kind relative low high packed transposed"),
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
        *library.fields(c_void_p, "weights centre half actions actions_grad weights_grad"),
    )


class CompiledModel:
    """The model of a draw in the library's form. It owns the memory to which its structure points."""

    def __init__(self, draw: Draw, precision: Precision) -> None:
        (groups, inputs, _), size = draw.layers[0].weight.shape, len(draw.relative)
        self.networks = CompiledNetworks(draw.layers, precision)
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
        self._pack("packed", "elites_rollout_pack")

    def prepare_gradient(self) -> None:
        """Makes the transposed weights, once."""
        if "transposed" not in self.arrays:
            self._pack("transposed", "elites_rollout_pack_back")

    def _pack(self, name: str, function: str) -> None:
        members = self.networks.structure.members
        packed = self.arrays["relative"].new_empty(members, getattr(self.sizes, name))
        library.point(self.structure, {name: packed})
        library.call(function, self.structure, c_int64(torch.get_num_threads()))
        self.arrays[name] = packed  # another thread that has the same draw sees it only when it is filled


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
        model.prepare_gradient()
        to_moves = moves.new_empty(draw.particles, *moves.shape)
        to_state = moves.new_empty(draw.particles, len(moves), first.shape[-1])
        given = {"actions": moves.contiguous(), "states": states, "saved": saved, "states_grad": gradient.contiguous()}
        results = {"actions_grad": to_moves, "state_grad": to_state}
        _call("elites_rollout_backward", model, draw, first, moves.shape[:2], given | results)
        return to_state.reshape(draw.particles, len(first), -1, first.shape[-1]).sum((0, 2)), to_moves.sum(0)


class CompiledPolicies:
    """Policies (R, numbers) in the library's form. It owns the memory to which its structure points."""

    def __init__(self, by: TanhPolicies, weights: Tensor, **written: Tensor) -> None:
        numbers, leak = activations_of(by.layers) or ([], 0.0)
        self.structure = Policies(len(by.layers), leak, size=weights.shape[1])
        self.arrays = {
            "widths": torch.tensor([*(x.weight.shape[1] for x in by.layers), len(by.centre)], dtype=torch.int32),
            "activations": torch.tensor(numbers, dtype=torch.int32),
            "weights": weights.contiguous(),
            "centre": by.centre.contiguous(),
            "half": by.half.contiguous(),
            **written,
        }
        library.point(self.structure, self.arrays)


class NativeReaction:
    """Closed-loop trajectories in compiled code."""

    name = NATIVE.name

    def serves(self, draw: Draw, first: Tensor, by: TanhPolicies) -> bool:
        """Whether the kernel knows this model and these policies."""
        known = draw.encode is None or isinstance(draw.encode, Features)
        widths = [layer.weight.shape[2] for layer in by.layers]
        plain = not any(isinstance(layer.activation, Normalised) for layer in by.layers)
        small = len(widths) <= DEEPEST and max(widths) <= WIDEST
        networks = NATIVE.serves(draw.layers, draw.relative, first) and NATIVE.serves(by.layers, by.centre)
        return known and plain and small and networks

    def forward(
        self, draw: Draw, first: Tensor, by: TanhPolicies, horizon: int, precision: Precision = "float32"
    ) -> tuple[Tensor, Tensor]:
        """state (B, S), R policies -> actions (R, P, H, A), states (R, P, H, S); in float32 if a gradient is needed."""
        weights = torch.cat([x.flatten(1) for layer in by.layers for x in (layer.weight, layer.bias)], 1)
        if torch.is_grad_enabled() and (first.requires_grad or weights.requires_grad):
            found: tuple[Tensor, Tensor] = Reactions.apply(draw, by, horizon, first, weights)  # type: ignore[no-untyped-call]
            return found
        actions, states, _ = _reacted(draw, by, horizon, first.detach(), weights.detach(), precision)
        return actions, states


class Reactions(torch.autograd.Function):
    """Closed-loop trajectories with their gradient."""

    @staticmethod
    def forward(
        ctx: Any, draw: Draw, by: TanhPolicies, horizon: int, first: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        actions, states, ctx.saved = _reacted(draw, by, horizon, first, weights, "float32", save=True)
        ctx.draw, ctx.by = draw, by
        ctx.save_for_backward(first, weights, actions, states)
        return actions, states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_actions: Tensor, to_states: Tensor) -> tuple[None, None, None, Tensor, Tensor]:
        first, weights, actions, states = ctx.saved_tensors
        rows, particles, horizon, size = states.shape
        to_first, to_weights = states.new_empty(particles, rows, size), states.new_empty(particles, *weights.shape)
        moved = to_actions.clone(memory_format=torch.contiguous_format)  # the kernel adds to it
        policies = CompiledPolicies(ctx.by, weights, actions=actions, actions_grad=moved, weights_grad=to_weights)
        given = {"states": states, "saved": ctx.saved, "states_grad": to_states.contiguous(), "state_grad": to_first}
        model = _compiled(ctx.draw, "float32")
        model.prepare_gradient()
        _call("elites_rollout_backward", model, ctx.draw, first, (rows, horizon), given, policies)
        return None, None, None, to_first.reshape(particles, len(first), -1, size).sum((0, 2)), to_weights.sum(0)


def _reacted(
    draw: Draw, by: TanhPolicies, horizon: int, first: Tensor, weights: Tensor, precision: Precision, save: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Actions, states, and the data for the gradient if `save`."""
    model, rows, count = _compiled(draw, precision), len(weights), draw.particles
    actions = first.new_empty(rows, count, horizon, len(by.centre))
    states = first.new_empty(rows, count, horizon, first.shape[-1])
    saved = first.new_empty(count, rows, horizon, model.sizes.saved) if save else None
    policies = CompiledPolicies(by, weights, actions=actions)
    _call("elites_rollout", model, draw, first, (rows, horizon), {"states": states, "saved": saved}, policies)
    return actions, states, saved


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
    policies: CompiledPolicies | None = None,
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
        structure.policies = ctypes.addressof(policies.structure)
    library.point(structure, arrays)
    library.call(name, model.structure, structure)
