"""Trajectories in one launch of a CUDA kernel, in bfloat16, for candidates that need no gradient."""

from __future__ import annotations

import ctypes
import functools
import math
from ctypes import c_int32, c_int64, c_void_p
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elites.dynamics.rollout import Draw
from elites.features import Features
from elites.networks import cuda, library
from elites.networks.engine import Precision
from elites.networks.layers import Layers, Normalised
from elites.networks.native import activations_of

LANES, TILE = 32, 16  # threads of a warp; rows and columns of a block of products


class Layer(ctypes.Structure):
    """As in networks/kernel/rollout.cu."""

    _fields_ = tuple(library.fields(c_void_p, "weight bias gain offset"))


class Shape(NamedTuple):
    """The numbers for which the kernel is compiled."""

    state: int
    action: int
    kinds: tuple[int, ...]  # of features: the entry, its sine or its cosine
    entries: tuple[int, ...]  # the entries of the state behind the features
    width: int  # of the hidden layers
    outputs: int
    activations: tuple[int, ...]  # of the hidden layers
    leak: float
    normalised: int  # number of first hidden layers with a layer normalisation

    @property
    def layers(self) -> int:
        return len(self.activations)

    @property
    def warps(self) -> int:
        return math.ceil(self.width / TILE)

    def memory(self, tiles: int) -> int:
        """Bytes of shared memory with 16 · tiles rows in a block: `Memory` in the kernel."""
        deep, last = self.warps, math.ceil(self.outputs / TILE)
        first = math.ceil(3 * (len(self.kinds) + self.action) / TILE)
        words = max(self.layers - 1, 1) * deep * deep + deep * last + 2 * tiles * max(deep, first, 2 * last)
        sums = 2 * self.warps if self.normalised else 0
        floats = tiles * TILE * (self.state + sums)
        return 16 * LANES * words + math.ceil(4 * floats / 16) * 16

    def source(self, tiles: int) -> str:
        lists = {"KINDS": self.kinds, "ENTRIES": self.entries, "ACTIVATIONS": self.activations}
        return cuda.defined(
            "rollout.cu",
            STATE=self.state,
            ACTION=self.action,
            FEATURES=len(self.kinds),
            LAYERS=self.layers,
            WIDTH=self.width,
            OUTPUTS=self.outputs,
            LEAK=f"{self.leak!r}f",
            NORMALISED=self.normalised,
            TILES=tiles,
            **{name: f"{{{', '.join(map(str, numbers))}}}" for name, numbers in lists.items()},
        )


def shape_of(draw: Draw, actions: int) -> Shape | None:
    """The shape of a draw's model; None if the kernel does not serve it.

    It serves particles that stay with their members, hidden layers of one width, and the compiled CPU kernel's
    activations and encodings.
    """
    size, widths = len(draw.relative), {layer.weight.shape[2] for layer in draw.layers[:-1]}
    found = activations_of(draw.layers)
    known = draw.encode is None or isinstance(draw.encode, Features)
    if draw.met is not None or draw.mixed or not known or len(widths) != 1 or found is None:
        return None
    if draw.noise and not isinstance(draw.noise.epsilon, Tensor):
        return None
    seen = draw.encode if isinstance(draw.encode, Features) else Features(*range(size))
    kinds = tuple(("same", "sin", "cos").index(kind) for kind, _ in seen.columns)
    entries = tuple(entry for _, entry in seen.columns)
    normalised = sum(isinstance(layer.activation, Normalised) for layer in draw.layers)
    outputs, (numbers, leak) = draw.layers[-1].weight.shape[2], found
    return Shape(size, actions, kinds, entries, widths.pop(), outputs, tuple(numbers), leak, normalised)


def _known(draw: Draw, actions: int) -> Shape | None:
    """`shape_of`, found once for all calls of a plan."""
    if "cuda" not in draw.cache:
        draw.cache["cuda"] = shape_of(draw, actions)
    found: Shape | None = draw.cache["cuda"]
    return found


@functools.cache
def arguments_type(layers: int) -> type[ctypes.Structure]:
    """`Arguments` in the kernel, for this number of hidden layers."""
    fields = [
        ("layers", Layer * (layers + 1)),
        *library.fields(c_void_p, "relative low high state actions epsilon states"),
        *library.fields(c_int64, "particle_stride row_stride step_stride"),
        *library.fields(c_int32, "rows candidates particles horizon share"),
    ]
    return type("Arguments", (ctypes.Structure,), {"_fields_": fields})


class CudaRollout:
    """The CUDA engine. Gradients, other formats than bfloat16 and other shapes are left to torch."""

    name = "cuda"

    def serves(self, draw: Draw, state: Tensor, actions: Tensor, precision: Precision) -> bool:
        tensors = (state, actions, draw.relative)
        if precision not in ("bfloat16", "fastest") or any(x.requires_grad for x in tensors):
            return False
        if not cuda.available(state.device) or any(x.dtype != torch.float32 or not x.is_cuda for x in tensors):
            return False
        shape = _known(draw, actions.shape[-1])
        return shape is not None and shape.memory(1) <= cuda.shared_memory(state.device) and shape.warps <= LANES

    def forward(
        self, draw: Draw, first: Tensor, moves: Tensor, save: bool, precision: Precision = "float32"
    ) -> tuple[Tensor, Any]:
        shape, device = _known(draw, moves.shape[-1]), first.device
        assert shape is not None
        groups = len(draw.layers[0].weight)
        rows = draw.particles // groups * len(moves)  # of a member
        cores = torch.cuda.get_device_properties(device).multi_processor_count
        tiles = tiles_for(shape, rows * groups, cores, cuda.shared_memory(device))
        kernel = _kernel(shape, tiles, device)
        blocks = min(math.ceil(rows / (tiles * TILE)), max(1, cores // groups))
        states = moves.new_empty(len(moves), draw.particles, moves.shape[1], first.shape[-1])
        given, _held = arguments_of(draw, first, moves, states)
        kernel.launch((blocks, groups), shape.warps * LANES, given)
        return states, None

    def backward(self, *_: Any) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("the CUDA rollout has no gradient")


def tiles_for(shape: Shape, rows: int, cores: int, most: int) -> int:
    """Sixteens of rows in a block: one if every core gets no more, else as many as its memory holds, up to two."""
    return 2 if rows > TILE * cores and shape.memory(2) <= most else 1


def arguments_of(draw: Draw, first: Tensor, moves: Tensor, states: Tensor) -> tuple[ctypes.Structure, list[Tensor]]:
    """The kernel's arguments, and the arrays to which they point."""
    given = arguments_type(len(draw.layers) - 1)()
    held = [_layer(given.layers[i], draw.layers, i) for i in range(len(draw.layers))]
    arrays = {"state": first.contiguous(), "actions": moves.contiguous(), "relative": draw.relative, "states": states}
    if draw.noise and isinstance(epsilon := draw.noise.epsilon, Tensor):
        epsilon = epsilon if epsilon.stride(-1) == 1 else epsilon.contiguous()
        arrays |= {"low": draw.noise.low.contiguous(), "high": draw.noise.high.contiguous(), "epsilon": epsilon}
        given.particle_stride, given.row_stride, given.step_stride, _ = epsilon.stride()
        if epsilon.shape[1] == 1:
            given.row_stride = 0
    library.point(given, arrays)
    given.rows, given.candidates, given.horizon = len(moves), len(moves) // len(first), moves.shape[1]
    given.particles, given.share = draw.particles, draw.particles // len(draw.layers[0].weight)
    return given, [*arrays.values(), *(array for some in held for array in some)]


def _layer(given: Any, layers: Layers, number: int) -> list[Tensor]:
    weight, bias, after = layers[number]
    arrays = {"weight": weight.contiguous(), "bias": bias.contiguous()}
    if isinstance(after, Normalised):
        members, width = len(weight), weight.shape[2]
        arrays |= {
            name: x.expand(members, 1, width).contiguous()
            for name, x in (("gain", after.gain), ("offset", after.offset))
        }
    library.point(given, arrays)
    return list(arrays.values())


@functools.cache
def _kernel(shape: Shape, tiles: int, device: torch.device) -> cuda.Kernel:
    return cuda.Kernel(shape.source(tiles), "rollout", shape.memory(tiles), device)
