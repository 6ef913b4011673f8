"""Policies and critics: units, bounds, exports, objectives."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from elites import Box, Choices, Space
from elites.networks.architecture import Architecture
from elites.networks.critics import Critics, Value
from elites.networks.heads import CategoricalHead, Deterministic, Head, NormalHead
from elites.networks.policies import Policy
from elites.networks.targets import slow_copy

BOX = Box([-2.0, 0.0], [4.0, 1.0])
CHOICES = Choices((3, 2), (0, 5), single=False)
SMALL = Architecture((8, 8))
HEADS: list[tuple[Space, Head]] = [
    (BOX, Deterministic()),
    (BOX, NormalHead()),
    (BOX, NormalHead("mean", "free")),
    (BOX, NormalHead("none", "fixed", std=2.0)),
    (CHOICES, CategoricalHead((3, 2))),
]


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def policy_of(space: Space, head: Head | None = None, architecture: Architecture = SMALL) -> Policy:
    return Policy(3, space, architecture, rng(), head)


@pytest.mark.parametrize(("space", "head"), HEADS, ids=str)
def test_a_policy_in_unit_space_and_in_the_environments(space: Space, head: Head) -> None:
    policy, state = policy_of(space, head), torch.randn(50, 3, generator=rng(1))
    action = policy.action(state)
    torch.testing.assert_close(action, policy.distribution(state).mode())
    if isinstance(space, Box):
        assert action.abs().max() <= 1
        torch.testing.assert_close(policy(state), space.from_unit(action))
        assert torch.equal(policy(state), space.project(policy(state)))
    else:
        assert torch.equal(policy(state), space.to_env(action))
        assert policy(state)[:, 1].min() >= 5


@pytest.mark.parametrize(("space", "head"), HEADS[1:], ids=str)
def test_what_is_drawn(space: Space, head: Head) -> None:
    """The density is of the raw action. The action is inside the bounds."""
    policy, state = policy_of(space, head), torch.randn(500, 3, generator=rng(1))
    action, raw, log_density = policy.sample_raw(state, rng(2))
    assert all(torch.equal(a, b) for a, b in zip(policy.sample(state, rng(2)), (action, log_density), strict=True))
    torch.testing.assert_close(policy.distribution(state).log_density(raw), log_density, rtol=1e-4, atol=1e-4)
    if head.bounded:
        assert action.abs().max() <= 1
    else:
        assert torch.equal(action, raw.clamp(-1, 1))
        assert (raw != action).any()


@pytest.mark.parametrize(("space", "head"), HEADS, ids=str)
def test_every_parameter_learns(space: Space, head: Head) -> None:
    """One step moves every parameter in the loss. A slow copy has no gradient."""
    policy, state = policy_of(space, head), torch.randn(50, 3, generator=rng(1))
    if isinstance(head, Deterministic):
        loss = policy.action(state).square().sum()
    else:
        loss = policy.distribution(state).log_density(policy.sample_raw(state, rng(2)).raw.detach()).sum()
    gradients = torch.autograd.grad(loss, list(policy.parameters()))
    assert all((gradient != 0).any() for gradient in gradients)
    assert len(gradients) == 6 + (getattr(head, "spread", "") == "free")
    assert not any(parameter.requires_grad for parameter in slow_copy(policy).parameters())


@pytest.mark.parametrize(("space", "head"), HEADS, ids=str)
@pytest.mark.parametrize("layer_norm", ["none", "first"])
def test_a_policy_is_exported(space: Space, head: Head, layer_norm: Any) -> None:
    policy = policy_of(space, head, Architecture((8, 8), "elu", layer_norm, normalise_inputs=True)).eval()
    policy.mlp.normalise(torch.randn(20, 3, generator=rng(3)) + 1)
    rows = {"state": {0: torch.export.Dim("rows")}}
    program = torch.export.export(policy, (torch.zeros(2, 3),), dynamic_shapes=rows)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    state = torch.randn(7, 3, generator=rng(1))
    torch.testing.assert_close(torch.export.load(file).module()(state), policy(state))


@pytest.mark.filterwarnings("ignore")  # warnings of the exporter
def test_a_categorical_policy_as_onnx(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    policy, file = policy_of(CHOICES).eval(), tmp_path / "policy.onnx"
    rows = {"state": {0: torch.export.Dim("rows")}}
    torch.onnx.export(
        policy, (torch.zeros(2, 3),), file, dynamo=True, dynamic_shapes=rows, input_names=["state"], verbose=False
    )
    state = torch.randn(7, 3, generator=rng(1))
    (found,) = onnxruntime.InferenceSession(file).run(None, {"state": state.numpy()})
    assert torch.equal(torch.from_numpy(found), policy(state))


def test_a_policy_over_a_box_without_bounds() -> None:
    box = Box([-torch.inf, -1.0], [torch.inf, 3.0])
    policy = policy_of(box, NormalHead("none"))
    with torch.no_grad():
        policy.mlp.biases[-1][:] = torch.tensor([50.0, 50.0, 0.0, 0.0])
    state = torch.zeros(1, 3)
    assert policy.action(state)[0, 0] > 40
    assert policy.action(state)[0, 1] == 1
    assert policy(state)[0, 0] > 40
    assert policy(state)[0, 1] == 3
    with pytest.raises(ValueError, match=r"Policy\.head: expected a head without a tanh for a box without bounds"):
        policy_of(box)


def test_heads_that_do_not_fit() -> None:
    message = r"Policy\.head: expected a categorical head for choices, another for a box"
    with pytest.raises(ValueError, match=message):
        policy_of(BOX, CategoricalHead((2,)))
    with pytest.raises(ValueError, match=message):
        policy_of(CHOICES, NormalHead())
    with pytest.raises(ValueError, match=r"Policy\.space: expected the space of a single action, got one of \(5, 2\)"):
        policy_of(BOX.repeat(5))


# --- critics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", [SMALL, Architecture((8, 7), "elu", "first", normalise_inputs=True)], ids=str)
@pytest.mark.parametrize("member", [0, 1])
def test_an_objective_is_the_values(architecture: Architecture, member: int) -> None:
    """For one member, at every state, for any architecture. Only the actions get a gradient."""
    critics = Critics(3, 2, 2, architecture, rng())
    critics.mlp.normalise(torch.randn(30, 5, generator=rng(3)) + 1)
    state, actions = torch.randn(6, 3, generator=rng(1)), torch.rand(6, 9, 2, generator=rng(2))
    expected = critics.values(state.repeat_interleave(9, 0), actions.flatten(0, 1))[member].reshape(6, 9)
    objective = critics.at(state, member=member)
    torch.testing.assert_close(objective(actions), expected.detach(), rtol=1e-4, atol=1e-5)
    leaf = actions.clone().requires_grad_()
    values = objective(leaf)
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-5)
    wanted = actions.clone().requires_grad_()
    truth = critics.values(state.repeat_interleave(9, 0), wanted.flatten(0, 1))[member].sum()
    torch.testing.assert_close(torch.autograd.grad(values.sum(), leaf)[0], torch.autograd.grad(truth, wanted)[0])
    leaf = actions.clone().requires_grad_()
    objective(leaf).sum().backward()
    assert all(parameter.grad is None for parameter in critics.parameters())


def test_an_objective_is_of_the_weights_when_it_was_made() -> None:
    critics, state = Critics(3, 2, 1, SMALL, rng()), torch.randn(6, 3, generator=rng(1))
    actions = torch.rand(6, 9, 2, generator=rng(2))
    before = critics.at(state)(actions)
    with torch.no_grad():
        critics.mlp.biases[-1] += 1
    torch.testing.assert_close(critics.at(state)(actions), before + 1)


def test_choices_are_one_hot_actions() -> None:
    critics, state = Critics(3, 5, 2, SMALL, rng()), torch.randn(6, 3, generator=rng(1))
    actions = CHOICES.uniform(6, rng(2))
    torch.testing.assert_close(
        critics.at(state)(actions.unsqueeze(1)).squeeze(1), critics.values(state, actions)[0].detach()
    )


def test_values_of_states() -> None:
    value, state = Value(3, 2, SMALL, rng()), torch.randn(6, 3, generator=rng(1))
    assert value.values(state).shape == (2, 6)
    torch.testing.assert_close(value.values(state), value.mlp(state)[..., 0])
    assert not torch.equal(*value.values(state))


def states_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return module.state_dict()


def test_what_a_state_dict_holds() -> None:
    """Weights and the normalizer, but not the bounds of a space."""
    names = set(states_of(policy_of(BOX, NormalHead("mean", "free"), Architecture((8,), normalise_inputs=True))))
    mlp = {f"mlp.{name}.{layer}" for name in ("weights", "biases") for layer in (0, 1)}
    assert names == mlp | {"mlp.input_mean", "mlp.input_std", "free"}
