"""Networks that learn through the kernel, against torch's autograd; and the cases that it cannot compute."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from elites.networks import library
from elites.networks.architecture import Architecture
from elites.networks.learning import compiled, gradients_of
from elites.networks.mlp import MLP

pytestmark = pytest.mark.skipif(not library.kernels(), reason="the kernel was not built")
ACTIVATIONS: Any = ["relu", "leaky_relu", "elu", "silu", "tanh"]
KINDS = [(1, False), (3, False), (1, True)]  # networks, and whether their weights are nn.Linear's


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def networks(architecture: Architecture, count: int = 2, linear: bool = False, sizes: tuple[int, int] = (23, 5)) -> MLP:
    """Networks whose gains and offsets matter."""
    found = MLP(architecture, *sizes, count, rng(1), linear=linear)
    with torch.no_grad():
        for parameter in (*found.gains, *found.offsets):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng(2)))
    return found


def inputs(count: int, rows: int, size: int = 23) -> Tensor:
    return torch.randn(count, rows, size, generator=rng(3)).requires_grad_()


def there_and_back(mlp: MLP, x: Tensor, count: int | None = None) -> list[Tensor]:
    """The outputs, and the gradients of a weighted sum of them."""
    found = mlp(x, count) if count else mlp(x)
    weights = torch.randn(found.shape, generator=rng(4))
    return [found, *torch.autograd.grad((found * weights).sum(), [x, *mlp.parts])]


def in_torch(monkeypatch: pytest.MonkeyPatch, mlp: MLP, *arguments: Any) -> list[Tensor]:
    with monkeypatch.context() as patch:
        patch.setattr(library, "LIBRARY", None)
        return there_and_back(mlp, *arguments)


def agree(mine: Sequence[Tensor], theirs: Sequence[Tensor], error: float = 1e-5) -> None:
    for found, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=error * expected.abs().max().item())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layer_norm", ["none", "first", "all"])
@pytest.mark.parametrize(("count", "linear"), KINDS)
@pytest.mark.usefixtures("kernel")
def test_there_and_back(monkeypatch: Any, activation: Any, layer_norm: Any, count: int, linear: bool) -> None:
    """Widths that fill vectors and widths that do not; few rows, and rows for several tiles."""
    for hidden, rows in itertools.product([(64, 64), (40, 33, 7)], [1, 3, 17, 200]):
        mlp, x = networks(Architecture(hidden, activation, layer_norm), count, linear), inputs(count, rows)
        mine = there_and_back(mlp, x)
        assert mlp.compiled is not None
        agree(mine, in_torch(monkeypatch, mlp, x))


@pytest.mark.parametrize("activation", ["elu", "silu", "tanh"])  # not ReLU: rounding can move a number across its kink
@pytest.mark.parametrize("layer_norm", ["none", "first", "all"])
@pytest.mark.parametrize(("count", "linear"), KINDS)
def test_tiles(kernel: str, monkeypatch: Any, activation: Any, layer_norm: Any, count: int, linear: bool) -> None:
    """Numbers have 16 significant bits. Few rows, and processors without tiles, use float32."""
    for hidden, rows in itertools.product([(64, 64), (40, 33, 7)], [7, 8, 17, 200]):
        mlp, x = networks(Architecture(hidden, activation, layer_norm), count, linear), inputs(count, rows)
        exact = there_and_back(mlp, x)
        mlp.precision = "bfloat16x3"
        found = there_and_back(mlp, x)
        agree(found, in_torch(monkeypatch, mlp, x), 1e-4)
        served = kernel == "amx" and rows >= 8
        assert served != all(torch.equal(*pair) for pair in zip(found, exact, strict=True))


def test_any_number_of_threads_gives_the_same_tiles() -> None:
    for count, linear in KINDS:
        mlp, x = networks(Architecture((64, 40)), count, linear), inputs(count, 150)
        mlp.precision = "bfloat16x3"
        threads, found = torch.get_num_threads(), []
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            found.append(there_and_back(mlp, x))
        torch.set_num_threads(threads)
        for some in found[1:]:
            assert all(torch.equal(*pair) for pair in zip(some, found[0], strict=True))


def test_no_hidden_layer(monkeypatch: Any) -> None:
    mlp, x = networks(Architecture(())), inputs(2, 9)
    agree(there_and_back(mlp, x), in_torch(monkeypatch, mlp, x))


@pytest.mark.parametrize("shape", [(20, 23), (1, 20, 23)])
def test_all_may_see_the_same(monkeypatch: Any, shape: tuple[int, ...]) -> None:
    """The inputs' gradients are sums over the networks."""
    mlp, x = networks(Architecture((32,))), torch.randn(shape, generator=rng(3)).requires_grad_()
    agree(there_and_back(mlp, x), in_torch(monkeypatch, mlp, x))


def test_the_first_ones_alone(monkeypatch: Any) -> None:
    """The other networks' gradients are 0."""
    mlp, x = networks(Architecture((32, 16)), 3), inputs(1, 20)
    mine = there_and_back(mlp, x, 2)
    assert len(mine[0]) == 2
    assert all((gradient[2] == 0).all() and (gradient[:2] != 0).any() for gradient in mine[2:])
    agree(mine, in_torch(monkeypatch, mlp, x, 2))


def test_inputs_that_do_not_lie_together(monkeypatch: Any) -> None:
    mlp, x = networks(Architecture((32,))), torch.randn(23, 2, 20, generator=rng(3)).permute(1, 2, 0).requires_grad_()
    agree(there_and_back(mlp, x), in_torch(monkeypatch, mlp, x))


def test_an_input_normalizer(monkeypatch: Any) -> None:
    mlp = networks(Architecture((32,), normalise_inputs=True))
    mlp.normalise(3 + 2 * torch.randn(50, 23, generator=rng(5)))
    x = inputs(2, 20)
    agree(there_and_back(mlp, x), in_torch(monkeypatch, mlp, x))


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("linear", [False, True])
def test_any_number_of_threads_gives_the_same_bits(linear: bool) -> None:
    mlp, x = networks(Architecture((64, 48), "elu", "all"), 1 if linear else 3, linear), inputs(1, 150)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(there_and_back(mlp, x))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_a_gradient_of_a_gradient(monkeypatch: Any) -> None:
    mlp, x = networks(Architecture((16,), "tanh")), inputs(2, 20)

    def second() -> list[Tensor]:
        (first,) = torch.autograd.grad(mlp(x).sum(), x, create_graph=True)
        return list(torch.autograd.grad(first.square().sum(), [x, *mlp.weights]))

    mine = second()
    monkeypatch.setattr(library, "LIBRARY", None)
    agree(mine, second())


def test_back_twice_through_one_graph() -> None:
    mlp, x = networks(Architecture((16,), "silu")), inputs(2, 20)
    loss = mlp(x).square().sum()
    first = torch.autograd.grad(loss, [x, *mlp.parts], retain_graph=True)
    agree(torch.autograd.grad(loss, [x, *mlp.parts]), first)


def test_weights_that_have_moved_since() -> None:
    mlp, x = networks(Architecture((16,))), inputs(2, 20)
    loss = mlp(x).sum()
    with torch.no_grad():
        mlp.weights[0].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # type: ignore[no-untyped-call]


def test_weights_elsewhere_are_seen() -> None:
    """Numbers that change in place, new memory, and a new parameter."""
    mlp, x = networks(Architecture((16,))), inputs(2, 20).detach()
    before = mlp(x)
    for change in (
        lambda: mlp.weights[0].data.mul_(2),
        lambda: setattr(mlp.weights[0], "data", mlp.weights[0].data / 2),
        lambda: mlp.weights.__setitem__(0, nn.Parameter(mlp.weights[0].detach() * 3)),
    ):
        change()
        now = mlp(x)
        assert not torch.allclose(now, before)
        before = now


def test_a_copy_has_weights_of_its_own() -> None:
    mlp, x = networks(Architecture((16,))), inputs(2, 20).detach()
    before = mlp(x)
    for other in (copy.deepcopy(mlp), pickle.loads(pickle.dumps(mlp))):
        assert torch.equal(other(x), before)
        with torch.no_grad():
            other.weights[0].zero_()
        assert not torch.equal(other(x), before)
        assert torch.equal(mlp(x), before)


def test_what_is_not_finite_comes_through(monkeypatch: Any) -> None:
    """As in torch, so that the agent can find it."""
    for activation in ACTIVATIONS:
        mlp, x = networks(Architecture((16,), activation)), inputs(2, 20)
        with torch.no_grad():
            x[:, 3] = torch.nan
        mine = there_and_back(mlp, x)
        assert mine[0][:, 3].isnan().all()
        assert mine[0][:, 4].isfinite().all()
        for found, expected in zip(mine, in_torch(monkeypatch, mlp, x), strict=True):
            assert torch.equal(found.isnan(), expected.isnan())


@pytest.mark.parametrize("shape", [(2, 20, 22), (20, 24), (3, 20, 23), (2, 2, 20, 23), (23,)])
def test_inputs_that_do_not_fit(shape: tuple[int, ...]) -> None:
    """torch reports the error. Nothing is read outside an array."""
    mlp = networks(Architecture((16,)))
    mlp(torch.zeros(2, 20, 23))
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        mlp(torch.zeros(shape))


def test_no_rows() -> None:
    mlp = networks(Architecture((16,)))
    assert mlp(torch.zeros(2, 0, 23)).shape == (2, 0, 5)
    assert networks(Architecture((16,)), 1, linear=True).alone(torch.zeros(0, 23)).shape == (0, 5)


@pytest.mark.parametrize("count", [0, 3])
def test_more_networks_than_there_are(count: int) -> None:
    with pytest.raises(ValueError, match=f"MLP: expected some of 2 networks, got {count}"):
        networks(Architecture((16,)))(torch.zeros(2, 20, 23), count)


def test_weights_of_which_some_are_frozen() -> None:
    mlp = networks(Architecture((16,)))
    mlp.weights[0].requires_grad_(False)
    found = mlp(inputs(2, 20).detach())
    found.sum().backward()
    assert mlp.weights[0].grad is None
    assert mlp.weights[1].grad is not None


def test_what_it_does_not_know_is_torchs() -> None:
    mlp = networks(Architecture((16,)))
    assert compiled(mlp, torch.zeros(1, 20, 23)) is not None
    assert compiled(mlp.double(), torch.zeros(1, 20, 23, dtype=torch.float64)) is None
    assert compiled(mlp.to("meta"), torch.zeros(1, 20, 23, device="meta")) is None
    assert mlp.to("meta")(torch.zeros(1, 20, 23, device="meta", dtype=torch.float64)).shape == (2, 20, 5)


# --- descents --------------------------------------------------------------------------------------------------------


def test_gradients_of_some(monkeypatch: Any) -> None:
    """Through networks that occur twice, that are in the loss themselves, or that belong to another."""
    mine, other, x = networks(Architecture((16,)), sizes=(23, 23)), networks(Architecture((16,))), inputs(2, 20)

    def gradients() -> list[Tensor]:
        loss = other(mine(mine(x))).square().sum() + 3 * mine.weights[0].square().sum()
        return [gradient.clone() for gradient in gradients_of(loss, mine.parts) if gradient is not None]

    found = gradients()
    assert len(found) == 4
    agree(gradients(), found)  # in the same memory as the first time
    monkeypatch.setattr(library, "LIBRARY", None)
    agree(found, gradients())


def test_a_loss_that_does_not_reach_a_parameter() -> None:
    mlp, free = networks(Architecture((16,))), nn.Parameter(torch.ones(()))
    given = gradients_of(mlp(inputs(2, 20)).sum(), [*mlp.parts, free])
    assert [gradient is None for gradient in given] == [False] * 4 + [True]


# --- a single output -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [None, 1])
def test_scalars(monkeypatch: Any, count: int | None) -> None:
    """(M, R), with the same gradients as (M, R, 1)."""
    mlp, x = networks(Architecture((32,)), sizes=(23, 1)), inputs(1, 20)
    weights = torch.randn(count or 2, 20, generator=rng(4))

    def gradients(found: Tensor) -> list[Tensor]:
        return [found, *torch.autograd.grad((found * weights).sum(), [x, *mlp.parts])]

    mine = gradients(mlp.scalars(x, count))
    agree(mine, gradients(mlp(x, count).squeeze(-1)))
    monkeypatch.setattr(library, "LIBRARY", None)
    agree(mine, gradients(mlp.scalars(x, count)))
