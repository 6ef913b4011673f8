"""Samples of squashed normals through the kernel: against torch's in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from elites.networks import library
from elites.networks.action_distributions import NormalAction

pytestmark = pytest.mark.skipif(not library.kernels(), reason="the kernel was not built")


def there_and_back(outputs: Tensor, dtype: torch.dtype, noise: Tensor, monkeypatch: Any) -> list[Tensor]:
    """Action, raw action and density, and the gradients of a weighted sum of them."""
    outputs = outputs.to(dtype).requires_grad_()
    monkeypatch.setattr(torch, "randn", lambda *_, **__: noise.to(dtype))
    mean, log_std = outputs.chunk(2, -1)
    sample = NormalAction(mean, log_std, squashed=True).sample(Generator())
    weights = [torch.linspace(-1, 2, each.numel(), dtype=dtype).view_as(each) for each in sample]
    total = sum((each * weight).sum() for each, weight in zip(sample, weights, strict=True))
    return [*sample, *torch.autograd.grad(total, outputs)]  # type: ignore[arg-type]


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("actions", [1, 6, 19])
def test_a_squashed_normal(monkeypatch: Any, actions: int) -> None:
    """Narrow and wide normals; also means for which tanh is exactly 1."""
    rng = Generator().manual_seed(actions)
    outputs = torch.randn(40, 2 * actions, generator=rng) * torch.tensor([[0.1], [1.0], [5.0], [20.0]]).repeat(10, 1)
    outputs[:, actions:] = outputs[:, actions:].clamp(-20, 2)
    noise = torch.randn(40, actions, generator=rng)
    mine = there_and_back(outputs, torch.float32, noise, monkeypatch)
    theirs = there_and_back(outputs, torch.float64, noise, monkeypatch)
    for found, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5 * actions)


def test_a_row_that_is_not_a_number_stays_alone(monkeypatch: Any) -> None:
    outputs = torch.zeros(3, 4)
    outputs[1, 0] = torch.nan
    action, _, density, back = there_and_back(outputs, torch.float32, torch.ones(3, 2), monkeypatch)
    assert action.isnan().tolist() == [[False] * 2, [True, False], [False] * 2]
    assert density.isnan().tolist() == back.isnan().any(-1).tolist() == [False, True, False]


def test_a_gradient_of_a_gradient(monkeypatch: Any) -> None:
    outputs, noise = torch.randn(5, 4, generator=Generator().manual_seed(0)), torch.linspace(-1, 1, 10).view(5, 2)

    def second() -> Tensor:
        found = outputs.clone().requires_grad_()
        monkeypatch.setattr(torch, "randn", lambda *_, **__: noise)
        density = NormalAction(*found.chunk(2, -1), squashed=True).sample(Generator()).log_density
        (first,) = torch.autograd.grad(density.sum(), found, create_graph=True)
        return torch.autograd.grad(first.square().sum(), found)[0]

    mine = second()
    monkeypatch.setattr(library, "LIBRARY", None)
    torch.testing.assert_close(mine, second())
