"""The CUDA rollout without a GPU: the kernel's own source runs on the CPU, its threads as fibers."""

import ctypes
import math
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Generator

from elites.dynamics import EnsembleConfig, ProbabilisticEnsemble
from elites.dynamics.cuda_rollout import LANES, TILE, CudaRollout, Shape, arguments_of, shape_of
from elites.dynamics.torch_rollout import TorchRollout
from elites.features import Features
from elites.networks.architecture import Architecture
from elites.networks.layers import Layer

HARNESS = Path(__file__).with_name("cuda_on_cpu.cpp")


@pytest.fixture(scope="session")
def emulated(tmp_path_factory):
    """shape, tiles -> the kernel as a library for the CPU."""
    if not (compiler := shutil.which("g++")):
        pytest.skip("no g++")
    made = {}

    def build(shape: Shape, tiles: int) -> ctypes.CDLL:
        if (shape, tiles) not in made:
            folder = tmp_path_factory.mktemp("kernel")
            (folder / "rollout.cu").write_text(shape.source(tiles))
            options = ["-std=c++17", "-O1", "-w", "-fPIC", "-shared", f'-DSOURCE="{folder / "rollout.cu"}"']
            subprocess.run([compiler, *options, "-o", folder / "rollout.so", HARNESS], check=True)
            made[shape, tiles] = ctypes.CDLL(str(folder / "rollout.so"))
        return made[shape, tiles]

    return build


def run(library: ctypes.CDLL, draw, first, moves, tiles, blocks) -> torch.Tensor:
    states = torch.full((len(moves), draw.particles, moves.shape[1], first.shape[-1]), torch.nan)
    given, _held = arguments_of(draw, first, moves, states)
    library.launch(ctypes.byref(given), blocks, len(draw.layers[0].weight))
    return states


def in_bfloat16(draw):
    """The same model whose torch rollout rounds where the kernel rounds: hidden inputs and weights."""

    def rounded(x):
        return x.bfloat16().float()

    first, *hidden = draw.layers
    layers = [Layer(first.weight, first.bias, lambda x, f=first.activation: rounded(f(x)))]
    layers += [Layer(rounded(w), b, f and (lambda x, f=f: rounded(f(x)))) for w, b, f in hidden]
    return type(draw)(layers, draw.relative, draw.encode, draw.particles, draw.noise, draw.met, draw.mixed)


@pytest.mark.parametrize("tiles", [1, 2])
@pytest.mark.parametrize(
    ("size", "actions", "hidden", "activation", "layer_norm", "encode", "noise"),
    [
        (4, 1, (40, 40, 40), "silu", "none", None, "common"),
        (4, 1, (24, 24), "silu", "all", Features(0, 1, "sin 2", "cos 2", 3), "independent"),
        (18, 6, (40, 40), "relu", "first", None, "common"),
        (5, 2, (17,), "elu", "none", None, "independent"),
        (3, 1, (32, 32), "tanh", "all", None, "common"),
    ],
)
def test_the_kernel_computes_the_rollout(emulated, size, actions, hidden, activation, layer_norm, encode, noise, tiles):
    rng = Generator().manual_seed(0)
    config = EnsembleConfig(2, Architecture(hidden, activation, layer_norm, normalise_inputs=True))
    model = ProbabilisticEnsemble(size, actions, config, encode=encode, absolute=[1], rng=rng)
    with torch.no_grad():
        for parameter in model.mlp.gains:
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng))
        for parameter in [*model.mlp.offsets, *model.mlp.biases]:
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng))
    data = 3 + 2 * torch.randn(50, size, generator=rng)  # a normaliser that moves and scales
    model.normalise(
        model.inputs(data, torch.randn(50, actions, generator=rng)), 0.1 * torch.randn(50, size, generator=rng)
    )
    first = torch.randn(3, size, generator=rng)  # three problems with 7 candidates each
    moves = torch.rand(21, 4, actions, generator=rng) * 2 - 1
    draw = model.draw(4, 4, rng)
    if noise == "independent":
        draw.noise.__dict__["epsilon"] = torch.randn(4, 21, 4, size, generator=rng)
    shape = shape_of(draw, actions)
    library = emulated(shape, tiles)
    found = run(library, draw, first, moves, tiles, blocks=2)  # 42 rows of a member: a block has more than one turn

    expected, _ = TorchRollout().forward(in_bfloat16(draw), first, moves, save=False)
    plain, _ = TorchRollout().forward(draw, first, moves, save=False)
    assert library.memory_size() == shape.memory(tiles)
    moved = (plain - first.repeat_interleave(7, 0)[:, None, None]).norm()
    assert (found - expected).norm() < 2e-3 * moved  # a rounding that falls to the other side
    assert (found - plain).norm() < 2e-2 * moved


def test_what_the_kernel_does_not_serve():
    rng = Generator().manual_seed(0)

    def drawn(particles=4, encode=None, **options):
        return ProbabilisticEnsemble(4, 1, EnsembleConfig(2, **options), encode=encode, rng=rng).draw(particles, 5, rng)

    assert shape_of(drawn(), 1) is not None
    assert shape_of(drawn(propagation="ts1"), 1) is None
    assert shape_of(drawn(propagation="mean"), 1) is None
    assert shape_of(drawn(architecture=Architecture((40, 50))), 1) is None
    assert shape_of(drawn(encode=lambda state: state.sin()), 1) is None
    draw = drawn()
    state, moves = torch.zeros(1, 4), torch.zeros(3, 5, 1)
    assert not CudaRollout().serves(draw, state, moves, "bfloat16")  # on a CPU


def test_memory_of_the_usual_shapes():
    def shape(size, actions, normalised=0, layers=3, width=200):
        return Shape(size, actions, (0,) * size, tuple(range(size)), width, 2 * size, (0,) * layers, 0.0, normalised)

    most = 232_448
    for size, actions in ((4, 1), (18, 6), (20, 7), (45, 17)):
        for normalised in (0, 3):
            assert shape(size, actions, normalised).memory(1) <= most
            assert shape(size, actions, normalised).warps * LANES == 416
    assert shape(18, 6).memory(2) <= most < shape(18, 6, layers=4).memory(1)
    assert math.ceil(200 / TILE) == 13
