"""The same trajectories from compiled code, on CPUs: networks/kernel, where it was built.

`ELITES_NATIVE=0` in the environment turns it off, and a path there takes another build. It knows float32, the
activations in `_activation` and encodings that are `Features`; what it does not know, `rollout.Torch` does.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from ctypes import c_float, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from elites.features import Features
from elites.networks.rollout import Draw, Precision, silu

# --- the library ------------------------------------------------------------------------------------------------------


def _fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class Model(ctypes.Structure):
    """As in kernel/rollout.h."""

    _fields_ = (
        *_fields(c_int32, "members layers state action features activation mixed starts precision kept"),
        *_fields(c_float, "leak"),
        *_fields(c_void_p, "widths entry kind relative low high weight bias"),
    )


class Job(ctypes.Structure):
    """As in kernel/rollout.h."""

    _fields_ = (
        *_fields(c_int64, "rows candidates particles horizon share"),
        *_fields(c_void_p, "met"),
        *_fields(c_int64, "met_run met_step"),
        *_fields(c_void_p, "state actions epsilon"),
        *_fields(c_int64, "particle_stride row_stride step_stride seed"),
        *_fields(c_void_p, "states saved states_grad actions_grad state_grad scratch"),
        *_fields(c_int64, "threads"),
    )


class Sizes(ctypes.Structure):
    """As in kernel/rollout.h."""

    _fields_ = tuple(_fields(c_int64, "saved scratch"))


def _load() -> Any:
    """The library, or None where it was not built or is not wanted."""
    path = os.environ.get("ELITES_NATIVE", "1")
    if path == "1":
        found = importlib.util.find_spec("elites.networks._rollout")
        path = found.origin if found and found.origin else "0"
    if path == "0":
        return None
    library = ctypes.CDLL(path)
    library.elites_kernel.restype = ctypes.c_char_p
    library.elites_threads(_openmp())
    return library


def _openmp() -> Any:
    """`GOMP_parallel` of the OpenMP that torch has loaded, or null: kernel/rollout.cpp says what for."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    loaded = {line.split()[-1] for line in lines if re.search(r"/lib(gomp|iomp5|omp)\b", line)}
    torchs = [path for path in loaded if path.startswith(str(Path(torch.__file__).parents[1]))]
    try:
        return ctypes.cast(ctypes.CDLL(torchs[0]).GOMP_parallel, c_void_p)
    except (IndexError, OSError, AttributeError):
        return c_void_p()


_LIBRARY = _load()


def kernels() -> list[str]:
    """The instruction sets that this machine has, best first; none where the library was not built."""
    names = [] if _LIBRARY is None else [_LIBRARY.elites_kernel(i) for i in range(5)]
    return [name.decode() for name in names if name]


def choose(kernel: str) -> None:
    """Takes another of `kernels` than the first, for tests and comparisons; a `Draw` from before no longer fits."""
    _LIBRARY.elites_choose(kernels().index(kernel))


def normals(seed: int, *shape: int) -> Tensor:
    """The noise that the kernel makes from a seed where it is given none, (P, R, H, S)."""
    found = torch.empty(shape)
    _LIBRARY.elites_normals(c_int64(seed), c_int64(found.numel()), c_void_p(found.data_ptr()))
    return found


def serves(draw: Draw, state: Tensor, actions: Tensor) -> bool:
    return (
        _LIBRARY is not None
        and all(x.dtype == torch.float32 and x.device.type == "cpu" for x in (draw.relative, state, actions))
        and (draw.encode is None or isinstance(draw.encode, Features))
        and _activation(draw.activation) is not None
    )


def _activation(function: Any) -> tuple[int, float] | None:
    """Its number in kernel/rollout.h, and the slope below 0 of those that have one."""
    if function is silu or isinstance(function, nn.SiLU):
        return 0, 0.0
    if isinstance(function, nn.Tanh):
        return 1, 0.0
    if isinstance(function, (nn.ReLU, nn.LeakyReLU)):
        return 2, getattr(function, "negative_slope", 0.0)
    return None


# --- a rollout --------------------------------------------------------------------------------------------------------


class Given:
    """A draw's networks as the kernel is given them; what it points at lives as long as this."""

    def __init__(self, draw: Draw, precision: Precision) -> None:
        weights, biases = ([x.contiguous() for x in tensors] for tensors in zip(*draw.layers, strict=True))
        size, (groups, inputs, _) = len(draw.relative), weights[0].shape
        seen = draw.encode if isinstance(draw.encode, Features) else Features(*range(size))
        number, leak = _activation(draw.activation) or (0, 0.0)
        arrays = {
            "widths": torch.tensor([weight.shape[1] for weight in weights], dtype=torch.int32),
            "entry": torch.tensor([entry for _, entry in seen.columns], dtype=torch.int32),
            "kind": torch.tensor([("same", "sin", "cos").index(kind) for kind, _ in seen.columns], dtype=torch.int32),
            "relative": draw.relative,
            "weight": torch.tensor([x.data_ptr() for x in weights]),
            "bias": torch.tensor([x.data_ptr() for x in biases]),
        }
        if draw.spread:
            arrays |= {"low": draw.spread.low.contiguous(), "high": draw.spread.high.contiguous()}
        self.lives = (weights, biases, arrays)
        features, mixed = len(seen.columns), groups if draw.mixed else 1
        kept = 1 if draw.met is None and not draw.mixed else groups
        sizes = groups, len(weights), size, inputs - features, features
        starts = biases[0].shape[1]
        self.model = Model(*sizes, number, mixed, starts, get_args(Precision).index(precision), kept, leak)
        for name, array in arrays.items():
            setattr(self.model, name, array.data_ptr())
        self.sizes = Sizes()
        _LIBRARY.elites_sizes(ctypes.byref(self.model), ctypes.byref(self.sizes))
        self.share, self.met = draw.particles // groups or 1, torch.arange(groups, dtype=torch.int32)
        if draw.met is not None:
            self.share, self.met = 1, draw.met.t().to(torch.int32).contiguous()


class Native:
    """The engine; a call keeps as many threads busy as torch's own would."""

    name = "kernel"

    def forward(
        self, draw: Draw, first: Tensor, moves: Tensor, save: bool, precision: Precision = "float32"
    ) -> tuple[Tensor, Any]:
        given = _given(draw, "float32" if save else precision)
        states = moves.new_empty(len(moves), draw.particles, moves.shape[1], first.shape[-1])
        saved = moves.new_empty(draw.particles, *moves.shape[:2], given.sizes.saved) if save else None
        _run(_LIBRARY.elites_rollout, given, draw, first, moves, states=states, saved=saved)
        return states, saved

    def backward(
        self, draw: Draw, first: Tensor, moves: Tensor, states: Tensor, saved: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        given = _given(draw, "float32")
        to_moves = moves.new_empty(draw.particles, *moves.shape)
        to_state = moves.new_empty(draw.particles, len(moves), first.shape[-1])
        results = {"states_grad": gradient.contiguous(), "actions_grad": to_moves, "state_grad": to_state}
        _run(_LIBRARY.elites_backward, given, draw, first, moves, states=states, saved=saved, **results)
        return to_state.sum(0).reshape(len(first), -1, first.shape[-1]).sum(1), to_moves.sum(0)


def _given(draw: Draw, precision: Precision) -> Given:
    if precision not in draw.cache:
        draw.cache[precision] = Given(draw, precision)
    return draw.cache[precision]  # type: ignore[no-any-return]


def _run(function: Any, given: Given, draw: Draw, first: Tensor, moves: Tensor, **others: Tensor | None) -> None:
    (rows, horizon, _), threads = moves.shape, torch.get_num_threads()
    arrays = {
        "state": first.contiguous(),
        "actions": moves.contiguous(),
        "scratch": torch.empty(threads * given.sizes.scratch),
        **others,
    }
    job = Job(rows, rows // len(first), draw.particles, horizon, given.share, threads=threads)
    job.met, job.met_run, job.met_step = given.met.data_ptr(), given.met.stride(0), given.met.stride(-1)
    if given.met.ndim == 1:  # particles stay with their networks
        job.met_step = 0
    epsilon = None if draw.spread is None else draw.spread.epsilon
    if isinstance(epsilon, int):
        job.seed = epsilon
    elif epsilon is not None:
        arrays["epsilon"] = epsilon
        job.particle_stride, job.row_stride, job.step_stride, _ = epsilon.stride()
        if epsilon.shape[1] == 1:
            job.row_stride = 0
    for name, array in arrays.items():
        setattr(job, name, None if array is None else array.data_ptr())
    function(ctypes.byref(given.model), ctypes.byref(job))
