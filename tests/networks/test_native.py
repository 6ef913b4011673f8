"""Compiled networks against torch's in float64, and the cases that they cannot compute."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from elites.networks import library
from elites.networks.architecture import Architecture
from elites.networks.engine import TORCH
from elites.networks.layers import ACTIVATIONS, Function, Layer, Layers, Normalised, detached
from elites.networks.mlp import MLP
from elites.networks.native import NATIVE, engine_for

TESTS = Path(__file__).parents[1]
KERNEL = TESTS.parent / "networks/kernel"
needs_kernel = pytest.mark.skipif(not library.kernels(), reason="the kernel was not built")
KNOWN = {  # number formats, and the kernels that have them
    "bfloat16x3": ("amx",),
    "bfloat16": ("amx", "avx512_fp16", "avx512_bf16"),
    "float16": ("amx", "avx512_fp16"),
}
FASTEST: Any = {"amx": "bfloat16", "avx512_fp16": "float16", "avx512_bf16": "bfloat16"}
LOST = {  # the largest loss over the spread of values: 16 bits of mantissa, 8 and 11
    "bfloat16x3": 1e-4,
    "bfloat16": 4e-2,
    "float16": 1.5e-2,
}


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def networks(
    count: int, sizes: tuple[int, ...], activation: Any = "relu", problems: int = 1, seed: int = 0, norm: Any = "none"
) -> Layers:
    """Networks whose biases, gains and offsets matter. problems: the first layer's biases, one for each."""
    mlp = MLP(Architecture(sizes[1:-1], activation, norm), sizes[0], sizes[-1], count, rng(seed))
    with torch.no_grad():
        for parameter in (*mlp.gains, *mlp.offsets):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng(seed)))
    layers, bias = detached(mlp.layers()), torch.randn(count, problems, sizes[1], generator=rng(seed + 1))
    return [Layer(layers[0].weight, bias, layers[0].activation), *layers[1:]]


def in_double(layers: Layers, x: Tensor) -> Tensor:
    """(M or 1, R, in) -> (M, R, out), by hand."""
    x = x.double()
    for weight, bias, activation in layers:
        rows = bias.double().repeat_interleave(x.shape[1] // bias.shape[1], 1)
        x = x @ weight.double() + rows
        x = x if activation is None else after_in_double(activation, x)
    return x


def after_in_double(activation: Function, x: Tensor) -> Tensor:
    if not isinstance(activation, Normalised):
        return activation(x)
    variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    return activation.function(activation.gain * (x - mean) / (variance + 1e-5).sqrt() + activation.offset)


def test_where_there_is_a_compiler_it_was_built() -> None:
    assert library.kernels() or not shutil.which("g++") or os.environ.get("ELITES_NATIVE") == "0"


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    layers = draw(st.integers(0, 3))
    return {
        "count": draw(st.integers(1, 4)),
        "sizes": tuple(draw(st.lists(st.integers(1, 70), min_size=layers + 2, max_size=layers + 2))),
        "activation": draw(st.sampled_from(["silu", "tanh", "relu", "leaky_relu", "elu"])),
        "norm": draw(st.sampled_from(["none", "first", "all"])),
        "problems": draw(st.integers(1, 5)),
        "rows": draw(st.integers(1, 40)),
        "shared": draw(st.booleans()),
        "threads": draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 1000)),
        "which": draw(st.integers(0, 10)),
    }


@needs_kernel
@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_it_agrees_with_torch(problem: dict[str, Any]) -> None:
    """To rounding, over shapes, activations, layer norms, a problem's own biases, shared inputs, instruction sets."""
    count, sizes, seed, rows = (problem[name] for name in ("count", "sizes", "seed", "rows"))
    if problem["norm"] != "none":  # two units can be so nearly equal that the normalisation enlarges any rounding
        sizes = (sizes[0], *(max(8, size) for size in sizes[1:]))
    layers = networks(count, sizes, problem["activation"], problem["problems"], seed, problem["norm"])
    x = torch.randn(1 if problem["shared"] else count, problem["problems"] * rows, sizes[0], generator=rng(seed + 2))
    names, threads, truth = library.kernels(), torch.get_num_threads(), in_double(layers, x)
    try:
        library.choose(names[problem["which"] % len(names)])
        torch.set_num_threads(problem["threads"])
        assert NATIVE.serves(layers, x)
        found = [engine.function(layers)(x) for engine in (NATIVE, TORCH)]
        if problem["shared"]:
            assert torch.equal(NATIVE.function(layers)(x.expand(count, -1, -1)), found[0])
    finally:
        torch.set_num_threads(threads)
        library.choose(names[0])
    for values in found:
        torch.testing.assert_close(values.double(), truth, rtol=1e-4, atol=1e-5 * (1 + truth.abs().max().item()))


@needs_kernel
@pytest.mark.parametrize("activation", ["silu", "tanh", "relu", "leaky_relu", "elu"])
@pytest.mark.parametrize("sizes", [(5, 40, 1), (5, 47, 33, 3), (5, 300, 256, 2)], ids=str)
@pytest.mark.parametrize("norm", ["none", "first", "all"])
@pytest.mark.parametrize("precision", KNOWN)
def test_other_numbers(kernel: str, precision: Any, norm: str, sizes: tuple[int, ...], activation: str) -> None:
    """Close to float32 on processors that have them; else float32. A layer's padding is never read."""
    layers, x = networks(2, sizes, activation, 4, norm=norm), torch.randn(1, 4 * 33, 5, generator=rng(2))
    exact = NATIVE.function(layers)(x)
    torch.use_deterministic_algorithms(True)  # torch fills new memory with NaN
    try:
        rough = NATIVE.function(layers, precision)(x)
    finally:
        torch.use_deterministic_algorithms(False)
    if kernel in KNOWN[precision]:
        lost = (rough - exact).abs().max() / exact.std()
        assert LOST[precision] / 1e3 < lost < LOST[precision]
    else:
        assert torch.equal(rough, exact)


@needs_kernel
def test_the_fastest_numbers_are_tiles_else_float16_else_bfloat16_else_float32(kernel: str) -> None:
    layers, x = networks(2, (5, 40, 40, 1)), torch.randn(2, 50, 5, generator=rng(2))
    best = FASTEST.get(kernel, "float32")
    assert torch.equal(NATIVE.function(layers, "fastest")(x), NATIVE.function(layers, best)(x))


@needs_kernel
@pytest.mark.parametrize("precision", KNOWN)
def test_what_does_not_fit_in_16_bits_is_computed_in_float32(kernel: str, precision: Any) -> None:
    layers, x = networks(2, (5, 40, 40, 1)), torch.randn(2, 50, 5, generator=rng(2))
    x[1, 7] = 1e7
    found = NATIVE.function(layers, precision)(x)
    assert found.isfinite().all()
    if precision == "float16" or kernel not in KNOWN[precision]:
        assert torch.equal(found, NATIVE.function(layers)(x))
    x[0, 3] = torch.nan
    assert NATIVE.function(layers, precision)(x).isfinite().sum() == 2 * 50 - 1


@needs_kernel
def test_any_number_of_threads_gives_the_same_bits(kernel: str) -> None:
    layers, x = networks(3, (5, 40, 2), problems=5), torch.randn(3, 5 * 37, 5, generator=rng(2))
    threads, found = torch.get_num_threads(), []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        found.append(NATIVE.function(layers)(x))
    torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@needs_kernel
def test_a_function_keeps_what_it_points_at(kernel: str) -> None:
    x = torch.randn(2, 50, 5, generator=rng(2))
    function, again = NATIVE.function(networks(2, (5, 40, 1))), NATIVE.function(networks(2, (5, 40, 1)))
    first = function(x)
    _ = [torch.full((2, 5, 40), torch.nan) for _ in range(100)]
    assert torch.equal(function(x), first)
    assert torch.equal(again(x), first)


@pytest.mark.parametrize(
    ("architecture", "dtype"),
    [
        (Architecture((8, 8)), torch.float64),
        (Architecture((8, 8), layer_norm="all"), torch.float64),
    ],
    ids=str,
)
def test_what_it_does_not_know_runs_in_torch(architecture: Architecture, dtype: torch.dtype) -> None:
    layers = detached(MLP(architecture, 3, 2, 4, rng()).to(dtype).layers())
    x = torch.randn(4, 10, 3, generator=rng(1), dtype=dtype)
    engine = engine_for(layers, x)
    assert engine.name == "torch"
    torch.testing.assert_close(engine.function(layers)(x), MLP(architecture, 3, 2, 4, rng()).to(dtype)(x).detach())


def test_layers_that_it_does_not_know_together_run_in_torch() -> None:
    """Different slopes, and a normalisation after a layer without one."""
    first, second, last = networks(2, (3, 8, 8, 1), norm="all")
    plain, x = first._replace(activation=nn.LeakyReLU(0.3)), torch.randn(2, 9, 3, generator=rng(1))
    for layers in ([plain, second._replace(activation=nn.LeakyReLU(0.2)), last], [plain, second, last]):
        engine = engine_for(layers, x)
        assert engine.name == "torch"
        torch.testing.assert_close(engine.function(layers)(x).double(), in_double(layers, x))


@needs_kernel
def test_every_layer_has_an_activation_of_its_own(kernel: str) -> None:
    layers, x = networks(2, (3, 40, 40, 40, 40, 1)), torch.randn(2, 9, 3, generator=rng(1))
    kinds = [nn.Tanh(), nn.LeakyReLU(0.2), nn.SiLU(), nn.LeakyReLU(0.2)]
    mixed = [*(layer._replace(activation=kind) for layer, kind in zip(layers, kinds, strict=False)), layers[-1]]
    assert engine_for(mixed, x).name == "kernel"
    torch.testing.assert_close(NATIVE.function(mixed)(x).double(), in_double(mixed, x), rtol=1e-4, atol=1e-5)


@needs_kernel
def test_a_gain_may_be_the_same_for_all(kernel: str) -> None:
    """(out,) equals (M, 1, out)."""
    first, last = networks(3, (3, 40, 1))
    gain, offset = torch.randn(2, 40, generator=rng(3))
    x, each = torch.randn(3, 9, 3, generator=rng(1)), (gain.expand(3, 1, 40), offset.expand(3, 1, 40))
    found = [
        NATIVE.function([first._replace(activation=Normalised(*both, nn.ReLU())), last])(x)
        for both in ((gain, offset), each)
    ]
    assert torch.equal(*found)


@needs_kernel
def test_a_mean_far_from_zero_is_taken_off(kernel: str) -> None:
    """Entries of 3000 ± 1. A variance as the mean of squares less the square of the mean would be lost."""
    first, last = networks(1, (3, 40, 1), "silu", norm="all")
    layers, x = [first._replace(bias=first.bias + 3000), last], torch.randn(1, 9, 3, generator=rng(1))
    torch.testing.assert_close(NATIVE.function(layers)(x).double(), in_double(layers, x), rtol=0, atol=2e-3)


def test_activations_by_function_and_by_module() -> None:
    modules: dict[str, nn.Module] = {"relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(0.01), "silu": nn.SiLU()}
    for name, module in (modules | {"tanh": nn.Tanh()}).items():
        x = torch.randn(100, generator=rng())
        torch.testing.assert_close(ACTIVATIONS[name](x.clone()), module(x))
        first, *others = networks(2, (3, 8, 1), name)
        by_module = [first._replace(activation=module), *others]
        if library.kernels():
            assert engine_for(by_module, x).name == "kernel"
            rows = torch.randn(2, 9, 3, generator=rng(1))
            assert torch.equal(NATIVE.function(by_module)(rows), NATIVE.function([first, *others])(rows))


PROGRAM = """
from elites.networks import library
print(library.kernels())
"""


def test_it_can_be_turned_off() -> None:
    environment = os.environ | {"ELITES_NATIVE": "0"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


ALLOCATING = """
import resource
import torch
from elites.networks import library
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(1 << 18) for _ in range(12)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other rules")
def test_freed_memory_is_kept() -> None:
    """Twelve megabytes that are freed and asked for again need no new pages; 3,000 if they were given back."""
    done = subprocess.run([sys.executable, "-c", ALLOCATING], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("g++"), reason="needs g++ and its sanitizers on Linux")
def test_under_sanitizers(tmp_path: Path) -> None:
    """Networks, rollouts and updates in a build with AddressSanitizer and UndefinedBehaviorSanitizer."""
    built = tmp_path / "kernel.so"
    flags = ["-std=c++17", "-O1", "-g", "-fno-math-errno", "-fPIC", "-shared", "-pthread", "-fno-omit-frame-pointer"]
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(["g++", *flags, *checks, str(KERNEL / "kernel.cpp"), "-o", str(built)], check=True)
    queries = [["g++", f"-print-file-name={name}.so"] for name in ("libasan", "libubsan")]
    runtimes = [subprocess.run(q, capture_output=True, text=True, check=True).stdout.strip() for q in queries]
    environment = os.environ | {
        "ELITES_NATIVE": str(built),
        "LD_PRELOAD": ":".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    beside = (
        "agents/test_policy_plans.py",
        "dynamics/test_rollout.py",
        "networks/test_learning.py",
        "networks/test_descent.py",
    )
    files = [__file__, *(str(TESTS / name) for name in beside)]
    other_allocator = ["-k", f"not {test_freed_memory_is_kept.__name__}"]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "not slow", *files, *other_allocator]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
