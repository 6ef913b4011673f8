"""The compiled rollout against torch's in float64, and the cases that it cannot compute."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from elites import Box
from elites.agents import MPC
from elites.dynamics import EnsembleConfig, ProbabilisticEnsemble
from elites.dynamics.ensemble import PETS_NETWORKS
from elites.dynamics.native_rollout import NativeRollout
from elites.dynamics.rollout import Draw, RolloutEngine, StepNoise, rollout
from elites.dynamics.torch_rollout import TorchRollout
from elites.features import Features
from elites.networks import library
from elites.networks.layers import Function, Layer, Normalised
from elites.planners import CEM

ROOT = Path(__file__).parents[2]
needs_kernel = pytest.mark.skipif(not library.kernels(), reason="the kernel was not built")


@pytest.fixture(params=library.kernels())
def kernel(request: Any) -> Iterator[str]:
    library.choose(request.param)
    yield request.param
    library.choose(library.kernels()[0])


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    size = draw(st.integers(1, 20))
    entries = st.integers(0, size - 1)
    column = st.one_of(entries, entries.map(lambda e: f"sin {e}"), entries.map(lambda e: f"cos {e}"))
    members, norm = draw(st.integers(1, 4)), draw(st.sampled_from(["none", "first", "all"]))
    least = 1 if norm == "none" else 8  # the norm of two sums that are nearly equal magnifies their rounding
    return {
        "size": size,
        "action": draw(st.integers(1, 5)),
        "features": draw(st.none() | st.lists(column, min_size=1, max_size=24)),
        "config": EnsembleConfig(
            members=members,
            architecture=replace(
                PETS_NETWORKS,
                hidden=tuple(draw(st.lists(st.integers(least, 70), min_size=1, max_size=4))),
                layer_norm=norm,
            ),
            propagation=draw(st.sampled_from(["tsinf", "ts1", "mean"])),
        ),
        "activation": draw(st.sampled_from([nn.SiLU(), nn.Tanh(), nn.ReLU(), nn.LeakyReLU(0.1)])),
        "absolute": draw(st.lists(entries, max_size=2)),
        "particles": draw(st.integers(1, 9)),
        "horizon": draw(st.integers(1, 6)),
        "candidates": (draw(st.integers(1, 3)), draw(st.integers(1, 30))),
        "independent": draw(st.booleans()),
        "threads": draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 1000)),
    }


def results(engine: RolloutEngine, noise: Any, state: Tensor, actions: Tensor, weights: Tensor) -> list[Tensor]:
    """The states, and the gradients of a weighted sum of them."""
    leaves = [x.clone().requires_grad_() for x in (state, actions)]
    states = rollout(engine, noise, *leaves)
    assert torch.equal(states, rollout(engine, noise, state, actions))  # the same without a gradient
    return [states.detach(), *torch.autograd.grad((states * weights).sum(), leaves)]


def in_double(draw: Draw, *rows_and_steps: int) -> Draw:
    """The same draw for the reference, with the kernel's noise of a seed."""
    layers = [Layer(weight.double(), bias.double(), after_in_double(after)) for weight, bias, after in draw.layers]
    noise = draw.noise
    if noise:
        epsilon = noise.epsilon
        if isinstance(epsilon, int):
            epsilon = library.normals(epsilon, draw.particles, *rows_and_steps, noise.low.shape[-1])
        noise = StepNoise(noise.low.double(), noise.high.double(), epsilon.double())
    return replace(draw, layers=layers, relative=draw.relative.double(), noise=noise, cache={})


def after_in_double(activation: Function | None) -> Function | None:
    if not isinstance(activation, Normalised):
        return activation
    return Normalised(activation.gain.double(), activation.offset.double(), activation.function)


@needs_kernel
@settings(max_examples=100, deadline=None)
@given(problem=problems(), which=st.integers(0, 10))
def test_it_agrees_with_torch(problem: dict[str, Any], which: int) -> None:
    """To rounding, over shapes, activations, layer norms, features, propagations, instruction sets; with gradients."""
    names, rng = library.kernels(), Generator().manual_seed(problem["seed"])
    features = problem["features"]
    model = ProbabilisticEnsemble(
        problem["size"],
        problem["action"],
        problem["config"],
        encode=Features(*features) if features else None,
        absolute=problem["absolute"],
        rng=rng,
    )
    model.mlp.activation = problem["activation"]
    with torch.no_grad():
        for bias in model.mlp.biases:
            bias.normal_(generator=rng)
        for parameter in (*model.mlp.gains, *model.mlp.offsets):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng))
        model.max_log_var.fill_(-1)
        model.min_log_var.fill_(-4)
    batch, count = problem["candidates"]
    state = torch.randn(batch, problem["size"], generator=rng)
    actions = torch.randn(batch, count, problem["horizon"], problem["action"], generator=rng)
    alone = (batch, count) if problem["independent"] else ()
    threads = torch.get_num_threads()
    try:
        library.choose(names[which % len(names)])
        torch.set_num_threads(problem["threads"])
        noise = model.draw(problem["particles"], problem["horizon"], rng, alone)
        assert NativeRollout().serves(noise, state, actions)
        weights = torch.randn(*actions.shape[:2], noise.particles, problem["horizon"], problem["size"], generator=rng)
        ours = results(NativeRollout(), noise, state, actions, weights)
    finally:
        torch.set_num_threads(threads)
        library.choose(names[0])
    reference = in_double(noise, batch * count, problem["horizon"])
    truth = results(TorchRollout(), reference, state.double(), actions.double(), weights.double())
    agree = [close(value.double(), expected) for value, expected in zip(ours, truth, strict=True)]
    if isinstance(problem["activation"], nn.ReLU | nn.LeakyReLU):
        # the least rounding may take a sum to the other side of a kink, and a candidate's gradient with it
        off = agree.pop().logical_not().flatten(2).any(-1).sum()
        assert off <= 2
        agree.pop()  # the state's gradient is a sum over candidates
    assert all(each.all() for each in agree)


def close(value: Tensor, expected: Tensor) -> Tensor:
    return torch.isclose(value, expected, rtol=1e-4, atol=1e-5 * (1 + expected.abs().max().item()))


def model_of(hidden: tuple[int, ...] = (40, 40), norm: Any = "none", **options: Any) -> ProbabilisticEnsemble:
    config = EnsembleConfig(3, replace(PETS_NETWORKS, hidden=hidden, layer_norm=norm), **options)
    model = ProbabilisticEnsemble(4, 2, config, encode=Features(0, "sin 1", 2, 3), rng=Generator().manual_seed(0))
    with torch.no_grad():
        for bias in model.mlp.biases:
            bias.normal_(generator=Generator().manual_seed(1))
    return model


STATE = torch.tensor([0.3, -1.0, 0.2, 2.0])
ACTIONS = torch.randn(50, 7, 2, generator=Generator().manual_seed(2))
MANY_ACTIONS = torch.randn(150, 7, 2, generator=Generator().manual_seed(3))


@needs_kernel
@pytest.mark.parametrize("norm", ["none", "all"])
@pytest.mark.parametrize("propagation", ["tsinf", "ts1", "mean"])
@pytest.mark.parametrize("rows", [150, 50, 2])
def test_any_number_of_threads_gives_the_same_bits(kernel: str, propagation: Any, norm: Any, rows: int) -> None:
    """Also where threads share a tile, and one of them does its first steps and the other its last ones."""
    model, found = model_of(norm=norm, propagation=propagation, sampling="fastest"), []
    threads, noise = torch.get_num_threads(), model.draw(6, 7, Generator().manual_seed(0))
    seeded = model.draw(6, 7, Generator().manual_seed(0), candidates=(rows,))
    for count in (1, 2, 4, 5):
        torch.set_num_threads(count)
        actions = MANY_ACTIONS[:rows].clone().requires_grad_()
        states = model.rollout(STATE, actions, noise)
        rough = model.rough_rollout(STATE, actions.detach(), seeded)
        found.append((states, *torch.autograd.grad(states.square().sum(), actions), rough))
    torch.set_num_threads(threads)
    assert model.engine == "kernel"
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@needs_kernel
def test_threads_of_the_kernels_own_share_tiles_as_well() -> None:
    """As where torch's OpenMP is not known."""
    model, threads, found = model_of(), torch.get_num_threads(), []
    noise = model.draw(6, 7, Generator().manual_seed(0))
    library.LIBRARY.elites_threads(None)
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        found.append(model.rollout(STATE, ACTIONS[:2], noise))
    torch.set_num_threads(threads)
    library.LIBRARY.elites_threads(library._openmp())
    assert all(torch.equal(found[0], other) for other in found[1:])


FEWER_THREADS = """
import torch
from tests.dynamics.test_rollout import ACTIONS, STATE, model_of
model, rng = model_of(), torch.Generator().manual_seed(0)
noise = model.draw(6, 7, rng)  # six tiles
torch.set_num_threads(1)
alone = model.rollout(STATE, ACTIONS, noise)
torch.set_num_threads(4)
assert torch.equal(model.rollout(STATE, ACTIONS, noise), alone)
"""


@needs_kernel
@pytest.mark.parametrize("limit", [1, 2])
def test_with_fewer_threads_than_asked_for_nobody_waits_for_ever(limit: int) -> None:
    environment = os.environ | {"OMP_THREAD_LIMIT": str(limit)}
    subprocess.run([sys.executable, "-c", FEWER_THREADS], env=environment, cwd=ROOT, check=True, timeout=300)


@needs_kernel
@pytest.mark.parametrize("sampling", ["float32", "bfloat16"])
def test_half_a_vector_gives_the_same_bits(kernel: str, sampling: Any) -> None:
    """A layer of 40 units, and the same layer with 8 more whose weights are 0."""
    narrow, wide = model_of((40, 40), sampling=sampling), model_of((48, 48), sampling=sampling)
    with torch.no_grad():
        for small, large in zip(narrow.mlp.parameters(), wide.mlp.parameters(), strict=True):
            large.zero_()
            large[tuple(slice(size) for size in small.shape)] = small
    noises = [model.draw(6, 7, Generator().manual_seed(0)) for model in (narrow, wide)]
    gradients = []
    for model, noise in zip((narrow, wide), noises, strict=True):
        actions = ACTIONS.clone().requires_grad_()
        gradients += torch.autograd.grad(model.rollout(STATE, actions, noise).square().sum(), actions)
    assert torch.equal(*gradients)
    found = [model.rough_rollout(STATE, ACTIONS, noise) for model, noise in zip((narrow, wide), noises, strict=True)]
    assert torch.equal(*found)


@needs_kernel
def test_what_is_not_finite_stays_where_it_is(kernel: str) -> None:
    """One row has a NaN, an infinity or a huge number. The other rows stay the same, bit for bit."""
    model = model_of()
    noise = model.draw(6, 7, Generator().manual_seed(0))
    poisoned = ACTIONS.clone()
    poisoned[3, 2, 0], poisoned[11, 0, 1], poisoned[20, 1, 1] = torch.nan, torch.inf, 1e38
    states, clean = model.rollout(STATE, poisoned, noise), model.rollout(STATE, ACTIONS, noise)
    others = [row for row in range(50) if row not in (3, 11, 20)]
    assert torch.equal(states[others], clean[others])
    assert states[3, :, 2:].isnan().all()
    assert states[3, :, :2].equal(clean[3, :, :2])
    assert not states[11].isfinite().any()
    expected = rollout(TorchRollout(), noise, STATE, poisoned[20])
    assert torch.equal(states[20].isfinite().all(-1), expected.isfinite().all(-1))


KNOWN = {  # number formats, and the kernels that have them
    "bfloat16x3": ("amx",),
    "bfloat16": ("amx", "avx512_fp16", "avx512_bf16"),
    "float16": ("amx", "avx512_fp16"),
}
FASTEST: Any = {"amx": "bfloat16", "avx512_fp16": "float16", "avx512_bf16": "bfloat16"}
LOST = {"bfloat16x3": 1e-4, "bfloat16": 2e-2, "float16": 5e-3}  # the largest loss: 16 bits of mantissa, 8 and 11


@needs_kernel
@pytest.mark.parametrize("activation", [nn.SiLU(), nn.Tanh(), nn.ReLU(), nn.LeakyReLU(0.1)], ids=str)
@pytest.mark.parametrize("shape", [(1, 40), (2, 40), (3, 47), (3, 300)], ids=str)
@pytest.mark.parametrize("norm", ["none", "first", "all"])
@pytest.mark.parametrize("sampling", KNOWN)
def test_other_numbers_are_for_samples_alone(
    kernel: str, sampling: Any, norm: str, shape: tuple[int, int], activation: Any
) -> None:
    """Close to float32 on processors that have them; else float32. With a gradient, always float32."""
    layers, width = shape
    hidden = (width,) * layers
    exact, rough = model_of(hidden, norm), model_of(hidden, norm, sampling=sampling)
    exact.mlp.activation = rough.mlp.activation = activation
    noise = [model.draw(6, 7, Generator().manual_seed(0)) for model in (exact, rough)]
    states = exact.rollout(STATE, ACTIONS, noise[0])
    assert torch.equal(rough.rollout(STATE, ACTIONS, noise[1]), states)
    assert torch.equal(exact.rough_rollout(STATE, ACTIONS, noise[0]), states)
    rounded = rough.rough_rollout(STATE, ACTIONS, noise[1])
    if kernel in KNOWN[sampling]:
        error = (rounded - states).abs().max() / (states - STATE).abs().max()
        assert LOST[sampling] / 1e3 < error < LOST[sampling]
    else:
        assert torch.equal(rounded, states)
    with_gradient = rough.rough_rollout(STATE, ACTIONS.clone().requires_grad_(), noise[1])
    assert torch.equal(with_gradient, states)


@needs_kernel
def test_the_fastest_numbers_are_tiles_else_float16_else_bfloat16_else_float32(kernel: str) -> None:
    states = []
    for sampling in ("fastest", FASTEST.get(kernel, "float32")):
        model = model_of(sampling=sampling)
        states.append(model.rough_rollout(STATE, ACTIONS, model.draw(6, 7, Generator().manual_seed(0))))
    assert torch.equal(*states)


@needs_kernel
@pytest.mark.parametrize("sampling", KNOWN)
def test_what_16_bits_cannot_hold_is_not_finite(kernel: str, sampling: Any) -> None:
    """The values beside it stay the same."""
    model, huge = model_of(sampling=sampling), ACTIONS.clone()
    noise = model.draw(6, 7, Generator().manual_seed(0))
    huge[3, 2, 0], huge[11, 2, 1] = torch.nan, 1e7
    states, clean = model.rough_rollout(STATE, huge, noise), model.rough_rollout(STATE, ACTIONS, noise)
    others = [row for row in range(50) if row not in (3, 11)]
    assert torch.equal(states[others], clean[others])
    assert states[3, :, 2:].isnan().all()
    assert states[11, :, 2:].isfinite().all() == (sampling != "float16" or kernel not in KNOWN[sampling])


def test_the_last_plan_says_what_it_ran_in() -> None:
    box, reward = Box([-1.0] * 2, [1.0] * 2), lambda state, action, next_state: next_state[:, 0]
    mpc = MPC.of(CEM(samples=4, elites=1), horizon=3, dynamics=model_of(), reward=reward, space=box, seed=0)
    mpc(STATE)
    assert mpc.last is not None
    assert mpc.last.engine == ("kernel" if library.kernels() else "torch")


@needs_kernel
@pytest.mark.parametrize("propagation", ["tsinf", "ts1", "mean"])
def test_a_draw_packs_its_weights_once(propagation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, called, call = model_of(propagation=propagation), list[str](), library.call
    drawn = model.draw(6, 7, Generator().manual_seed(0))

    def recorded(name: str, *structures: Any) -> None:
        called.append(name)
        call(name, *structures)

    monkeypatch.setattr(library, "call", recorded)
    for _ in range(3):
        model.rollout(STATE, ACTIONS, drawn)
        moves = ACTIONS.clone().requires_grad_()
        model.rollout(STATE, moves, drawn).sum().backward()
    assert called.count("elites_rollout_pack") == called.count("elites_rollout_pack_back") == 1
    assert called.count("elites_rollout_backward") == 3


@pytest.mark.parametrize(
    "change",
    [
        {"activation": nn.GELU()},
        {"encode": lambda state: torch.cat([state[:, :3], state[:, 3:].abs()], 1)},
        {"dtype": torch.float64},
    ],
)
def test_what_it_does_not_know_runs_in_torch(change: dict[str, Any]) -> None:
    model = model_of().to(change.pop("dtype", torch.float32))
    model.mlp.activation, model.encode = change.get("activation", nn.SiLU()), change.get("encode", model.encode)
    noise = model.draw(6, 7, Generator().manual_seed(0))
    kind = model.mlp.weights[0].dtype
    noise = noise if kind == torch.float32 else in_double(noise)
    states = model.rollout(STATE.to(kind), ACTIONS.to(kind), noise)
    assert model.engine == "torch"
    assert states.isfinite().all()


@needs_kernel
def test_noise_from_a_seed(kernel: str) -> None:
    """Standard normal to the fourth moment. Steps and seeds differ; every processor gives the same."""
    x = library.normals(7, 1_000_003)
    assert x.isfinite().all()
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        spread = {1: 1.0, 2: 2.0, 3: 15.0, 4: 96.0}[power] ** 0.5  # of x^power
        assert x.double().pow(power).mean().item() == pytest.approx(moment, abs=4 * spread / 1000)
    inside = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])
    shares = (x.unsqueeze(1) < inside).double().mean(0)
    assert torch.allclose(shares, torch.special.ndtr(inside.double()), atol=2e-3)
    for lag in (1, 4, 16, 45):
        assert abs((x[lag:] * x[:-lag]).mean().item()) < 4e-3
    others = [library.normals(seed, 1_000_003) for seed in (8, 7 + 2**32)]
    assert all(abs((x * other).mean().item()) < 4e-3 for other in others)
    assert torch.equal(library.normals(7, 100), x[:100])
    assert x.unique().numel() > 0.9 * len(x)
    library.choose("baseline")
    torch.testing.assert_close(library.normals(7, 1_000_003), x, rtol=1e-4, atol=1e-5)
