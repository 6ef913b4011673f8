"""Batched networks by hand: layers, normalisation, and initial weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from elites import config
from elites.networks.architecture import Architecture
from elites.networks.engine import CACHED_ROWS, TORCH
from elites.networks.layers import Layer, detached
from elites.networks.mlp import MLP
from elites.networks.targets import follow, slow_copy


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def by_hand(mlp: MLP, member: int, x: Tensor) -> Tensor:
    """One network's outputs for inputs (R, in), layer by layer."""
    a = mlp.architecture
    activations: dict[str, Any] = {
        "relu": torch.relu,
        "elu": nn.ELU(),
        "silu": nn.SiLU(),
        "tanh": torch.tanh,
        "leaky_relu": nn.LeakyReLU(),
    }
    if a.normalise_inputs:
        x = (x - mlp.input_mean) / mlp.input_std
    for number, (weight, bias) in enumerate(zip(mlp.weights, mlp.biases, strict=True)):
        x = x @ weight.T + bias if mlp.linear else x @ weight[member] + bias[member]
        if number == len(a.hidden):
            return x
        normal = a.layer_norm == "all" or (a.layer_norm == "first" and number == 0)
        if normal:
            gain, offset = (p[number] if mlp.linear else p[number][member] for p in (mlp.gains, mlp.offsets))
            mean, variance = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
            x = (x - mean) / (variance + 1e-5).sqrt() * gain + offset
        x = torch.tanh(x) if normal and a.layer_norm == "first" else activations[a.activation](x)
    raise AssertionError


def randomised(mlp: MLP) -> MLP:
    """Random biases, gains, offsets and normalizer, as after training."""
    with torch.no_grad():
        for parameter in [*mlp.biases, *mlp.gains, *mlp.offsets]:
            parameter.normal_(generator=rng(1))
    mlp.normalise(3 * torch.randn(40, mlp.weights[0].shape[-1 if mlp.linear else 1], generator=rng(2)) + 1)
    return mlp


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "silu", "tanh"])
@pytest.mark.parametrize("layer_norm", ["none", "first", "all"])
@pytest.mark.parametrize(("count", "linear"), [(1, False), (3, False), (1, True)])
def test_forward_is_every_network_by_hand(activation: Any, layer_norm: Any, count: int, linear: bool) -> None:
    """Values and gradients. Without a gradient, activations in place give the same values."""
    architecture = Architecture((7, 6), activation, layer_norm, normalise_inputs=True)
    mlp = randomised(MLP(architecture, 4, 2, count, rng(), linear=linear))
    x = torch.randn(count, 9, 4, generator=rng(3))
    found, expected = mlp(x), torch.stack([by_hand(mlp, member, x[member]) for member in range(count)])
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, generator=rng(4))
    for ours, truth in zip(
        torch.autograd.grad((found * weights).sum(), list(mlp.parameters())),
        torch.autograd.grad((expected * weights).sum(), list(mlp.parameters())),
        strict=True,
    ):
        assert ours.is_contiguous()  # a fused Adam reads memory, not strides
        torch.testing.assert_close(ours, truth, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(mlp(x), expected)
        torch.testing.assert_close(mlp(x[0]), torch.stack([by_hand(mlp, m, x[0]) for m in range(count)]))
    function = TORCH.function(detached(mlp.folded()))
    torch.testing.assert_close(function(x), expected.detach())
    torch.testing.assert_close(function(x[:1])[0], expected[0].detach())


def test_some_members_alone() -> None:
    mlp, x = randomised(MLP(Architecture((7, 6), layer_norm="all"), 4, 2, 5, rng())), torch.randn(5, 9, 4)
    for members in (torch.tensor([3, 1]), slice(3, 4)):
        some = TORCH.function(detached(mlp.folded(members)))
        torch.testing.assert_close(some(x[members]), mlp(x)[members].detach())


@pytest.mark.parametrize("rows", [1, CACHED_ROWS - 1, CACHED_ROWS + 1])
@pytest.mark.parametrize("problems", [1, 3, 700])
def test_a_bias_for_each_problem(rows: int, problems: int) -> None:
    """In torch, in parts that stay in the cache."""
    layers = detached(MLP(Architecture((7,)), 4, 2, 2, rng()).layers())
    bias = torch.randn(2, problems, 7, generator=rng(1))
    each = max(1, rows // problems)
    x = torch.randn(2, problems * each, 4, generator=rng(2))
    found = TORCH.function([Layer(layers[0].weight, bias, layers[0].activation), layers[1]])(x)
    hidden = (x @ layers[0].weight + bias.repeat_interleave(each, 1)).relu()
    torch.testing.assert_close(found, hidden @ layers[1].weight + layers[1].bias)


def test_several_networks_are_not_linear_layers() -> None:
    with pytest.raises(ValueError, match=r"MLP\.count: expected 1 with linear weights, got 2"):
        MLP(Architecture((7,)), 4, 2, 2, rng(), linear=True)


def test_no_hidden_layer() -> None:
    mlp, x = MLP(Architecture(()), 4, 2, 3, rng()), torch.randn(3, 9, 4, generator=rng(1))
    torch.testing.assert_close(mlp(x), x @ mlp.weights[0] + mlp.biases[0])
    torch.testing.assert_close(TORCH.function(detached(mlp.layers()))(x), mlp(x).detach())


@pytest.mark.parametrize(
    ("name", "limit", "std"),
    [
        ("uniform", 1 / math.sqrt(200), 1 / math.sqrt(600)),
        ("truncated_normal", 1 / math.sqrt(200), 0.88 / (2 * math.sqrt(200))),  # a normal cut at two spreads
        ("xavier", math.sqrt(6 / 500), math.sqrt(2 / 500)),
        ("variance_scaling", math.sqrt(3 * (1 / 3) / 300), math.sqrt((1 / 3) / 300)),
    ],
)
@pytest.mark.parametrize(("count", "linear"), [(2, False), (1, True)])
def test_how_weights_begin(name: Any, limit: float, std: float, count: int, linear: bool) -> None:
    mlp = MLP(Architecture((300,), initialisation=name), 200, 4, count, rng(), linear=linear)
    weight, bias = mlp.weights[0], mlp.biases[0]
    assert weight.shape == ((300, 200) if linear else (2, 200, 300))
    assert weight.abs().max().item() == pytest.approx(limit, rel=0.01)
    assert weight.std().item() == pytest.approx(std, rel=0.02)
    assert not torch.equal(weight[0], weight[-1]) or count == 1
    if name == "uniform":
        assert bias.abs().max().item() == pytest.approx(limit, rel=0.1)
    else:
        assert (bias == 0).all()


def test_one_network_begins_as_linear_layers_do() -> None:
    """The same generator gives the weights of nn.Linear, layer by layer."""
    mlp, generator = MLP(Architecture((5,)), 3, 2, 1, rng(), linear=True), rng()
    for layer, (fan_in, fan_out) in enumerate(((3, 5), (5, 2))):
        limit = 1 / math.sqrt(fan_in)
        for ours, shape in ((mlp.weights[layer], (fan_out, fan_in)), (mlp.biases[layer], (fan_out,))):
            drawn = torch.empty(shape).uniform_(-limit, limit, generator=generator)
            assert torch.equal(ours, drawn)
    x = torch.randn(4, 3, generator=rng(1))
    hidden = functional.linear(x, mlp.weights[0], mlp.biases[0]).relu()
    last = functional.linear(hidden, mlp.weights[1], mlp.biases[1])
    torch.testing.assert_close(mlp(x)[0], last, rtol=0, atol=1e-6)  # processors add up in another order


def test_the_last_layers_scale() -> None:
    plain, scaled = (MLP(Architecture((5,), last_scale=scale), 3, 2, 2, rng()) for scale in (1.0, 0.01))
    assert torch.equal(plain.weights[0], scaled.weights[0])
    assert torch.equal(plain.biases[0], scaled.biases[0])
    torch.testing.assert_close(0.01 * plain.weights[1], scaled.weights[1])
    torch.testing.assert_close(0.01 * plain.biases[1], scaled.biases[1])


def test_the_normalizer() -> None:
    inputs = torch.tensor([[1.0, 5.0], [5.0, 5.0]])
    mlp = MLP(Architecture((5,), normalise_inputs=True), 2, 1, 2, rng())
    mlp.normalise(inputs)
    assert mlp.input_std.tolist() == [2, 1]
    assert mlp.normalised(inputs).tolist() == [[-1, 0], [1, 0]]  # the biased spread; a constant entry keeps its unit
    torch.testing.assert_close(mlp(inputs), TORCH.function(mlp.layers())(mlp.normalised(inputs).unsqueeze(0)))
    without = MLP(Architecture((5,)), 2, 1, 2, rng())
    without.normalise(inputs)
    assert without.normalised(inputs) is inputs
    assert not list(without.buffers())


def test_a_slow_copy_follows() -> None:
    """slow + τ (fast - slow), and a copy of the normalizer. The slow copy has no gradient."""
    fast = MLP(Architecture((5,), layer_norm="all", normalise_inputs=True), 2, 1, 2, rng())
    slow = slow_copy(fast)
    before = [parameter.clone() for parameter in slow.parameters()]
    fast = randomised(fast)
    follow(slow, fast, 0.25)
    for old, now, new in zip(before, slow.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(now, 0.75 * old + 0.25 * new)
        assert not now.requires_grad
    assert torch.equal(slow.input_mean, fast.input_mean)
    assert torch.equal(slow.input_std, fast.input_std)
    fast.normalise(torch.randn(9, 2))
    assert not torch.equal(slow.input_mean, fast.input_mean)


def test_an_architecture_is_configured() -> None:
    built = config.build(Architecture, {"hidden": [8, 4], "activation": "elu", "layer_norm": "first"})
    assert built == Architecture((8, 4), "elu", "first")
    assert config.build(Architecture, config.dump(built)) == built
    for wrong, message in (
        ({"hidden": [0]}, r"hidden\[0\]: expected an integer of at least 1, got 0"),
        ({"activation": "gelu"}, "activation: expected 'relu' or 'leaky_relu' or 'elu' or .*, got 'gelu'"),
        ({"last_scale": 0}, "last_scale: expected a number above 0, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            config.build(Architecture, wrong)
