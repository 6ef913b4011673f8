"""CUDA C++ that is compiled at its first use, by NVIDIA's own compiler in the extra `elites[cuda]`."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import torch

SOURCES = Path(__file__).parent / "kernel"


def available(device: torch.device) -> bool:
    """Whether kernels can be compiled for this device, and it multiplies bfloat16 (compute capability 8.0)."""
    return device.type == "cuda" and _installed() and torch.cuda.get_device_capability(device) >= (8, 0)


def shared_memory(device: torch.device) -> int:
    """The bytes of shared memory that a block can have."""
    from cuda.bindings import driver

    most = driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    index = torch.cuda.current_device() if device.index is None else device.index
    return int(_done(driver.cuDeviceGetAttribute(most, index)))


@functools.cache
def _installed() -> bool:
    """Whether NVIDIA's compiler is there, and its library loads."""
    try:
        from cuda.bindings import nvrtc

        return int(nvrtc.nvrtcVersion()[0]) == 0
    except (ImportError, RuntimeError):
        return False


def defined(source: str, **definitions: object) -> str:
    """The source file's text after these definitions."""
    lines = [f"#define {name} {value}\n" for name, value in definitions.items()]
    return "".join(lines) + (SOURCES / source).read_text()


class Kernel:
    """A function of a compiled source, on one device. shared: bytes of shared memory of a block."""

    def __init__(self, text: str, name: str, shared: int, device: torch.device) -> None:
        from cuda.bindings import driver

        self.shared, self.device = shared, device
        with torch.cuda.device(device):
            torch.empty(1, device=device)  # makes the device's context
            binary = compiled(text, "sm_{}{}".format(*torch.cuda.get_device_capability(device)))
            self._module = _done(driver.cuModuleLoadData(binary))
            self._function = _done(driver.cuModuleGetFunction(self._module, name.encode()))
            most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _done(driver.cuFuncSetAttribute(self._function, most, shared))

    def launch(self, grid: tuple[int, int], threads: int, arguments: ctypes.Structure) -> None:
        """Starts the kernel on torch's current stream. It takes one structure."""
        from cuda.bindings import driver

        places = (ctypes.c_void_p * 1)(ctypes.addressof(arguments))
        with torch.cuda.device(self.device):
            stream, size = torch.cuda.current_stream().cuda_stream, (*grid, 1, threads, 1, 1)
            _done(driver.cuLaunchKernel(self._function, *size, self.shared, stream, ctypes.addressof(places), 0))


def compiled(text: str, architecture: str) -> bytes:
    """The machine code of a source. A mistake in it raises with the compiler's words."""
    from cuda.bindings import nvrtc

    program = _done(nvrtc.nvrtcCreateProgram(text.encode(), b"rollout.cu", 0, [], []))
    options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
    (result,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if result.value:
        log = b" " * _done(nvrtc.nvrtcGetProgramLogSize(program))
        _done(nvrtc.nvrtcGetProgramLog(program, log))
        raise RuntimeError(f"CUDA: expected code that compiles, got\n{log.decode()}")
    binary: bytes = b" " * _done(nvrtc.nvrtcGetCUBINSize(program))
    _done(nvrtc.nvrtcGetCUBIN(program, binary))
    _done(nvrtc.nvrtcDestroyProgram(program))
    return binary


def _done(answer: tuple[Any, ...]) -> Any:
    """The values that a call returned after its error code."""
    error, *values = answer
    if error.value:
        raise RuntimeError(f"CUDA: {error.name}")
    return values[0] if values else None
