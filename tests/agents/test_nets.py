"""Named modules: descending, setting, following, saving and resuming."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn, tensor

from elites import Box
from elites.agents import Nets, Optimizer, Part, Spaces

SPACES = Spaces.of(2, Box([-1.0], [1.0]))


def weights(*values: float) -> nn.ParameterList:
    return nn.ParameterList([nn.Parameter(tensor(value)) for value in values])


def nets(seed: int = 0, **parts: Part) -> Any:
    return Nets(SPACES, Generator().manual_seed(seed), parts)


def pull(module: nn.ParameterList, scale: float = 1.0) -> Tensor:
    """Σ (1 + n) w_n: the gradient is (1, 2, …)."""
    return scale * sum((1 + n) * weight for n, weight in enumerate(module))  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_a_descent_is_the_optimizers(kind: str) -> None:
    """Against torch's own optimizers, with steps of different sizes."""
    settings: Any = {"momentum": 0.9} if kind == "sgd" else {}
    found = nets(some=Part(weights(1.0, -2.0), Optimizer(0.1, kind, decay=0.5, **settings)))  # type: ignore[arg-type]
    theirs = weights(1.0, -2.0)
    of: Any = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[kind]
    optimizer = of(theirs.parameters(), 0.1, weight_decay=0.5, **settings)
    for scale in (1.0, 3.0, -2.0):
        found.descend("some", pull(found.some, scale))
        optimizer.zero_grad()
        pull(theirs, scale).backward()
        optimizer.step()
        torch.testing.assert_close(list(found.some), list(theirs))


@pytest.mark.parametrize(("scale", "norm"), [(1.0, 2.0), (0.1, 5**0.5 / 10)])
def test_a_gradient_is_clipped_to_a_norm(scale: float, norm: float) -> None:
    """(1, 2) has the norm √5; a smaller gradient stays unchanged."""
    found = nets(some=Part(weights(0.0, 0.0), Optimizer(1.0, "sgd", clip=2.0)))
    found.descend("some", pull(found.some, scale))
    moved = -torch.stack(list(found.some)).detach()
    torch.testing.assert_close(moved, norm * tensor([1.0, 2.0]) / 5**0.5)


def test_a_loss_descends_its_own_module_and_needs_all_of_it() -> None:
    found = nets(one=Part(weights(1.0, 1.0)), other=Part(weights(1.0)))
    found.descend("one", pull(found.one) * found.other[0])
    assert found.other[0].item() == 1
    assert found.other[0].grad is None
    assert all(weight.item() != 1 for weight in found.one)
    with pytest.raises(ValueError, match="update: expected a loss of 'one' that depends on all its parameters"):
        found.descend("one", found.one[0] * 2)
    with pytest.raises(ValueError, match="update: expected a loss of 'one' with a gradient, got one without"):
        found.descend("one", tensor(3.0))
    with pytest.raises(ValueError, match="update: expected a loss of one of one, other, got one of 'policy'"):
        found.descend("policy", pull(found.one))


def test_a_module_that_descends_by_no_optimizer() -> None:
    found = nets(one=Part(weights(1.0)), given=Part(weights(2.0), optimizer=None))
    with pytest.raises(ValueError, match="expected a loss of one of one, got one of 'given'"):
        found.descend("given", pull(found.given))


def test_a_module_may_contain_another() -> None:
    """Each loss moves the parameters of its own module; both losses move the shared part."""
    shared = weights(1.0)
    found = nets(inner=Part(shared), outer=Part(nn.ModuleList([shared, weights(1.0)])))
    found.descend("inner", pull(found.inner))
    assert (shared[0].item(), found.outer[1][0].item()) == (pytest.approx(0.999), 1)
    found.descend("outer", shared[0] * found.outer[1][0])
    assert (shared[0].item(), found.outer[1][0].item()) == (pytest.approx(0.998), pytest.approx(0.999))


def test_a_loss_that_was_built_too_early_is_refused() -> None:
    """It depends on weights that have moved since."""
    found = nets(one=Part(nn.Linear(1, 1)), other=Part(nn.Linear(1, 1)))
    both = found.one(found.other(torch.ones(1, 1))).sum()
    found.descend("one", both)
    with pytest.raises(RuntimeError):
        found.descend("other", both)


def test_weights_that_are_set() -> None:
    found = nets(some=Part(nn.Linear(2, 3)))
    assert found.vector("some").shape == (9,)
    found.set("some", torch.arange(9.0))
    assert found.some.weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert found.some.bias.tolist() == [6, 7, 8]
    vector = found.vector("some")
    assert torch.equal(vector, torch.arange(9.0))
    vector.zero_()
    assert found.some.bias.tolist() == [6, 7, 8], "a copy"
    with pytest.raises(ValueError, match=r"set: expected 9 weights of 'some', got shape \(8,\)"):
        found.set("some", torch.zeros(8))


def test_slow_copies_follow_all_or_those_that_are_named() -> None:
    found = nets(a=Part(weights(0.0), slow=True), b=Part(weights(0.0), slow=True), c=Part(weights(0.0)))
    assert sorted(vars(found.slow)) == ["a", "b"]
    for name in "abc":
        found.set(name, tensor([8.0]))
    found.follow(0.25)
    assert (found.slow.a[0].item(), found.slow.b[0].item()) == (2, 2)
    found.follow(0.5, "b")
    assert (found.slow.a[0].item(), found.slow.b[0].item()) == (2, 5)
    found.follow(1.0)
    assert (found.slow.a[0].item(), found.slow.b[0].item()) == (8, 8)
    assert not any(weight.requires_grad for copy in found.copies.values() for weight in copy.parameters())


def test_normal_numbers_are_the_generators() -> None:
    like = torch.zeros(3, 2, dtype=torch.float64)
    drawn = nets(seed=7).normal(like)
    assert torch.equal(drawn, torch.randn(3, 2, dtype=torch.float64, generator=Generator().manual_seed(7)))


@pytest.mark.parametrize("name", ["slow", "rng", "spaces", "descend", "modules"])
def test_a_name_that_is_taken(name: str) -> None:
    with pytest.raises(ValueError, match=f"Nets: expected a module name that Nets does not use, got '{name}'"):
        nets(**{name: Part(weights(1.0))})


# --- going on ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_settings_are_the_new_ones_after_loading_and_moments_the_old(kind: Any) -> None:
    old, new = (Optimizer(rate, kind, decay, None, 0.5) for rate, decay in ((0.1, 0.0), (0.025, 0.5)))
    first, second, third = (nets(some=Part(weights(1.0), of, slow=True)) for of in (old, new, old))
    first.descend("some", pull(first.some))
    for other in (second, third):
        other.load_state_dict(first.state_dict())
    for found in (first, second, third):
        found.descend("some", pull(found.some, -2.0))
    assert first.some[0].item() == third.some[0].item() != second.some[0].item()
    (group,) = second._optimizers["some"].param_groups
    assert (group["lr"], group["weight_decay"]) == (0.025, 0.5)


def test_the_state_of_an_optimizer_of_another_kind_is_refused() -> None:
    first, second = (nets(some=Part(weights(1.0), Optimizer(kind=kind))) for kind in ("adam", "sgd"))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="expected an optimizer of some that is sgd, found adam"):
        second.load_state_dict(first.state_dict())


def test_modules_of_other_names_are_refused() -> None:
    first, second = nets(some=Part(weights(1.0))), nets(some=Part(weights(1.0), slow=True), more=Part(weights(1.0)))
    with pytest.raises(RuntimeError, match="expected modules some, found some, more"):
        first.load_state_dict(second.state_dict())
