"""The memory used, the memory free, and the size in an allocator's error."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

_ASKED = (  # torch on the CPU; torch on CUDA, and NumPy
    re.compile(r"tried to allocate (?P<size>\d+)(?P<unit>) bytes", re.I),
    re.compile(r"(?:tried|unable) to allocate (?P<size>[\d.]+) (?P<unit>[KMGT]?)i?B", re.I),
)
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def peak_mb() -> float | None:
    """The peak memory of this process: on the GPU if there is one. None if the platform does not tell."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS gives bytes, other systems give KiB


def free_bytes(device: torch.device) -> int | None:
    """The free memory. None if the platform does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def asked_for(error: BaseException) -> int | None:
    """The bytes that a failed allocation wanted. 0 if its error does not tell, None for any other error."""
    text = str(error)
    for pattern in _ASKED:
        if found := pattern.search(text):
            return int(float(found["size"]) * 1024 ** _UNITS[found["unit"].upper()])
    exhausted = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "not enough memory" in text
    return 0 if exhausted else None


def in_words(size: int | None) -> str:
    """A size in GB of 10⁹ bytes."""
    return "an unknown amount" if not size else f"{size / 1e9:.3g} GB"
