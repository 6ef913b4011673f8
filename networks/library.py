"""The compiled library of networks/kernel, if it was built.

The environment variable `ELITES_NATIVE=0` turns it off. If the variable is a path, that build is loaded.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ctypes import c_float, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def fields(kind: Any, names: str) -> Iterator[tuple[str, Any]]:
    """Fields of a ctypes structure, all of one type."""
    return ((name, kind) for name in names.split())


class Networks(ctypes.Structure):
    """As in kernel/interface.h."""

    _fields_ = (
        *fields(c_int32, "members layers outputs starts precision normalised"),
        *fields(c_float, "leak"),
        *fields(c_void_p, "widths activations weight bias gain offset"),
    )


class Pass(ctypes.Structure):
    """As in kernel/interface.h."""

    _fields_ = (
        *fields(c_int64, "rows problem member_stride"),
        *fields(c_void_p, "inputs outputs scratch"),
        *fields(c_int64, "threads"),
    )


class Sizes(ctypes.Structure):
    """As in kernel/interface.h."""

    _fields_ = tuple(fields(c_int64, "saved scratch packed transposed"))


class Learning(ctypes.Structure):
    """As in kernel/interface.h."""

    _fields_ = (
        *fields(c_void_p, "networks"),
        *fields(c_int32, "linear"),
        *fields(c_int64, "members rows member_stride"),
        *fields(c_void_p, "inputs outputs kept outputs_grad inputs_grad"),
        *fields(c_void_p, "weight_grad bias_grad gain_grad offset_grad scratch"),
        *fields(c_int64, "threads"),
    )


class LearningSizes(ctypes.Structure):
    """As in kernel/interface.h."""

    _fields_ = tuple(fields(c_int64, "kept scratch"))


class Adam(ctypes.Structure):
    """As in kernel/interface.h."""

    _fields_ = (
        *fields(c_int64, "arrays"),
        *fields(c_void_p, "sizes weight mean square count gradient"),
        *fields(c_float, "rate beta1 beta2 epsilon unbiased decay shrinkage"),
        *fields(c_int64, "threads"),
    )


class Follow(ctypes.Structure):
    """As in kernel/interface.h."""

    _fields_ = (
        *fields(c_int64, "arrays"),
        *fields(c_void_p, "sizes slow fast"),
        *fields(c_float, "tau"),
        *fields(c_int64, "threads"),
    )


class Squash(ctypes.Structure):
    """As in kernel/interface.h."""

    _fields_ = (
        *fields(c_int64, "rows actions mean_stride std_stride grad_stride"),
        *fields(c_float, "low high"),
        *fields(c_void_p, "mean log_std noise action raw density action_grad raw_grad density_grad"),
        *fields(c_float, "density_rate"),
        *fields(c_void_p, "mean_grad std_grad"),
    )


class Regression(ctypes.Structure):
    """As in kernel/interface.h."""

    _fields_ = (*fields(c_int64, "members rows"), *fields(c_void_p, "values target loss mean rates"))


class Gather(ctypes.Structure):
    """As in kernel/interface.h."""

    _fields_ = (*fields(c_int64, "columns rows"), *fields(c_void_p, "bytes index source to"))


def serves(tensors: Iterable[Tensor]) -> bool:
    """Whether there is a library, and it can take these arrays."""
    return LIBRARY is not None and all(
        x.dtype == torch.float32 and x.device.type == "cpu" and x.is_contiguous() for x in tensors
    )


def addresses(tensors: Sequence[Tensor]) -> ctypes.Array[c_void_p]:
    return (c_void_p * len(tensors))(*(x.data_ptr() for x in tensors))


def places(*arrays: ctypes.Array[Any]) -> list[int]:
    """The addresses of these arrays."""
    return [ctypes.addressof(array) for array in arrays]


def integers(numbers: Sequence[int]) -> ctypes.Array[c_int64]:
    return (c_int64 * len(numbers))(*numbers)


def point(structure: ctypes.Structure, arrays: Mapping[str, Tensor | None]) -> None:
    """Sets a structure's pointers. The arrays must live as long as the structure is used."""
    for name, array in arrays.items():
        setattr(structure, name, None if array is None else array.data_ptr())


def call(name: str, *structures: ctypes.Structure | c_int64) -> None:
    """Calls the library's function of that name."""
    getattr(LIBRARY, name)(*map(ctypes.byref, structures))


def scratch(sizes: Sizes | LearningSizes) -> Tensor:
    """Memory for as many threads as torch uses. It is valid until this thread calls again."""
    wanted = torch.get_num_threads() * sizes.scratch
    found: Tensor | None = getattr(_held, "scratch", None)
    if found is None or len(found) < wanted:
        found = _held.scratch = torch.empty(wanted)
    return found


def crew(*lessons: tuple[Learning, LearningSizes]) -> None:
    """Makes these lessons use as many threads as torch, and the scratch memory of this thread."""
    threads = torch.get_num_threads()
    for _, sizes in lessons:
        place = scratch(sizes).data_ptr()
    for lesson, _ in lessons:
        lesson.threads, lesson.scratch = threads, place


def _load() -> Any:
    """The library. None if it was not built or is turned off."""
    path = os.environ.get("ELITES_NATIVE", "1")
    if path == "1":
        found = importlib.util.find_spec("elites.networks._kernel")
        path = found.origin if found and found.origin else "0"
    if path == "0":
        return None
    library = ctypes.CDLL(path)
    library.elites_kernel.restype = ctypes.c_char_p
    library.elites_threads(_openmp())
    return library


def _keep_freed_memory() -> None:
    """Plans free the same megabytes again and again. The C library keeps them, rather than give them to the system.

    glibc keeps twice as much as the largest block that was mapped and freed, up to 64 MB. Nobody writes to this block.
    """
    np.empty(1 << 24, np.uint8)


def _openmp() -> Any:
    """`GOMP_parallel` of the OpenMP that torch has loaded, or null. kernel/kernel.cpp explains its use."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    loaded = {line.split()[-1] for line in lines if re.search(r"/lib(gomp|iomp5|omp)\b", line)}
    torchs = [path for path in loaded if path.startswith(str(Path(torch.__file__).parents[1]))]
    try:
        return ctypes.cast(ctypes.CDLL(torchs[0]).GOMP_parallel, c_void_p)
    except (IndexError, OSError, AttributeError):
        return c_void_p()


LIBRARY = _load()
_keep_freed_memory()
_held = threading.local()


def kernels() -> list[str]:
    """The instruction sets of this machine, best first; none if the library was not built."""
    names = [] if LIBRARY is None else [LIBRARY.elites_kernel(i) for i in range(6)]
    return [name.decode() for name in names if name]


def engine(device: torch.device | str = "cpu") -> str:
    """The engine of float32 networks on a device: `kernel` with its instruction set, or `torch`."""
    found = kernels() if torch.device(device).type == "cpu" else []
    return f"kernel {found[0]}" if found else "torch"


def choose(kernel: str) -> None:
    """Chooses one of `kernels`, for tests. Compiled networks made before no longer work."""
    LIBRARY.elites_choose(kernels().index(kernel))


def normals(seed: int, *shape: int) -> Tensor:
    """The noise that the kernel makes from a seed, (P, R, H, S)."""
    found = torch.empty(shape)
    LIBRARY.elites_normals(c_int64(seed), c_int64(found.numel()), c_void_p(found.data_ptr()))
    return found
