"""The MPC agent: shapes, time, warm starts, and users' mistakes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from elites import Box, config
from elites.agents import MPC
from elites.dynamics import FunctionDynamics, Return
from elites.planners import CEM, CEMGD, ICEM, MPPI, PLANNERS, Blend, Evaluator, Plan, Planner, Problem, TanhNormal

SPACE = gymnasium.spaces.Box(-1.0, 1.0, (2,), dtype=np.float32)


def move(state: Tensor, action: Tensor) -> Tensor:
    return state + 0.5 * action


def near_origin(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    return -10 * next_state.square().sum(1)


def agent(planner: Any = None, horizon: int = 5, **options: Any) -> MPC:
    options = {"dynamics": move, "reward": near_origin, "space": SPACE, "seed": 0, **options}
    return MPC.of(planner or CEM(), horizon=horizon, **options)


def test_without_a_planner_it_blends() -> None:
    assert MPC.of(horizon=5, dynamics=move, reward=near_origin, space=SPACE).planner == Blend()


@dataclass(frozen=True)
class Scripted:
    """A planner that answers 0.01, 0.02, 0.03, … over the horizon and records its calls."""

    calls: list[tuple[int, Plan | None, float | None]] = field(default_factory=list)

    def plan(
        self, objective: Any, space: Box, start: Any = None, *, batch: Any = (), rng: Any = None, deadline: Any = None
    ) -> Plan:
        self.calls.append((batch[0], start, deadline))
        points = 0.01 * torch.arange(1, space.shape[0] + 1).float()[:, None].expand(*batch, *space.shape)
        plan = Plan.at(points.clone(), batch)
        return replace(plan, evaluations=1)


# --- shapes and types -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANNERS)
def test_every_planner_solves_it(name: str) -> None:
    """The optimal first action is known: straight to the origin, as far as a bound allows."""
    planner = config.build(Planner, {"name": name})  # type: ignore[type-abstract]
    mpc = agent(planner, horizon=3)
    states = torch.tensor([[0.2, -0.3], [2.0, 0.1]])
    for _ in range(8):
        states = move(states, mpc(states))
    assert (states.norm(dim=1) < (0.45 if name == "random_shooting" else 0.2)).all()


def test_numpy_in_numpy_out() -> None:
    mpc = agent()
    action = mpc(np.array([0.5, 0.5]))  # float64, as in most environments
    assert isinstance(action, np.ndarray)
    assert action.shape == (2,)
    assert action.dtype == np.float32
    assert SPACE.contains(action)
    mpc.reset()
    assert mpc(np.zeros((7, 2), np.float32)).shape == (7, 2)


def test_torch_in_torch_out() -> None:
    mpc = agent()
    action = mpc(torch.zeros(2, requires_grad=True))
    assert isinstance(action, Tensor)
    assert action.shape == (2,)
    assert not action.requires_grad
    mpc.reset()
    with torch.inference_mode():
        assert mpc(torch.zeros(3, 2)).shape == (3, 2)


def test_a_box_of_ones_own_sets_the_dtype() -> None:
    mpc = agent(space=Box(-torch.ones(2).double(), torch.ones(2).double()))
    assert mpc(np.zeros(2)).dtype == np.float64


def test_gradients_under_inference_mode() -> None:
    with torch.inference_mode():
        action = agent(CEMGD(cold=CEM(), warm=CEM(samples=10, elites=1)))(torch.ones(2))
    assert action.shape == (2,)


def test_equal_seeds_equal_actions() -> None:
    a, b, c = agent(seed=1), agent(seed=1), agent(seed=2)
    states = [np.full(2, x) for x in (0.3, 0.1, -0.2)]
    actions = [[mpc(state).tolist() for state in states] for mpc in (a, b, c)]
    assert actions[0] == actions[1]
    assert actions[0] != actions[2]


def test_many_problems_are_many_agents() -> None:
    """Each row ends where it would end alone."""
    states = torch.tensor([[0.4, -0.2], [-0.3, 0.3], [1.5, 0.0]])
    together = agent()
    for _ in range(6):
        states = move(states, together(states))
    assert (states.norm(dim=1) < 0.1).all()


# --- a model, a Return, a discount ------------------------------------------------------------------------------------


def test_a_return_or_a_model_in_the_place_of_functions() -> None:
    state = np.array([0.3, 0.2])
    plain = agent()(state)
    assert np.array_equal(plain, agent(dynamics=FunctionDynamics(move))(state))
    returns = Return(move, near_origin)
    assert np.array_equal(plain, MPC(CEM(), 5, returns, SPACE, seed=0)(state))


def test_the_options_of_the_return_arrive() -> None:
    """Each option changes the plan's value in its own way."""
    state = np.array([0.3, 0.2])

    def value(**options: Any) -> float:
        mpc = agent(Scripted(), **options)
        mpc(state)
        plan = mpc.last.plan  # type: ignore[union-attr]
        return mpc.returns.at(torch.tensor([[0.3, 0.2]]), mpc.rng)(plan.best.unsqueeze(1)).item()

    base = value()
    assert value(discount=0.5) > base
    assert value(terminal_value=lambda s: torch.full_like(s[:, 0], 7)) == pytest.approx(base + 7)
    assert value(terminated=lambda s, a, n: n[:, 0] < 9) > base


# --- time -------------------------------------------------------------------------------------------------------------


def actions(mpc: MPC, count: int, batch: int = 1) -> list[list[float]]:
    return [mpc(torch.zeros(batch, 2))[:, 0].mul(100).round().tolist() for _ in range(count)]


def test_replan_every() -> None:
    """One plan serves three actions, and is then shifted by three."""
    planner = Scripted()
    mpc = agent(planner, replan_every=3)
    assert actions(mpc, 5) == [[1], [2], [3], [1], [2]]
    assert len(planner.calls) == 2
    assert planner.calls[0][1] is None
    start = planner.calls[1][1]
    assert start is not None
    assert start.best[0, :, 0].mul(100).round().tolist() == [4, 5, 5, 5, 5]


def test_replanning_at_every_step_shifts_by_one() -> None:
    planner = Scripted()
    actions(agent(planner), 2)
    assert planner.calls[1][1].best[0, :, 0].mul(100).round().tolist() == [2, 3, 4, 5, 5]  # type: ignore[union-attr]


@pytest.mark.parametrize(("fill", "tail"), [("zero", 0.0), ("center", 0.0), ("repeat", 5.0)])
def test_fill(fill: str, tail: float) -> None:
    planner = Scripted()
    actions(agent(planner, fill=fill), 2)
    assert planner.calls[1][1].best[0, -1, 0].item() == pytest.approx(tail / 100)  # type: ignore[union-attr]


def test_reset_leaves_no_action_of_the_old_episode() -> None:
    planner = Scripted()
    mpc = agent(planner, replan_every=4)
    actions(mpc, 2)
    mpc.reset()
    assert actions(mpc, 1) == [[1]]
    assert planner.calls[-1][1] is None


@pytest.mark.parametrize("as_tensor", [True, False])
def test_reset_of_some_rows(as_tensor: bool) -> None:
    """They start cold at once. The others continue their plans."""
    planner = Scripted()
    mpc = agent(planner, replan_every=3)
    assert actions(mpc, 2, batch=3) == [[1, 1, 1], [2, 2, 2]]
    mask = np.array([False, True, False])
    mpc.reset(mask=torch.as_tensor(mask) if as_tensor else mask)
    assert actions(mpc, 3, batch=3) == [[3, 1, 3], [1, 2, 1], [2, 3, 2]]
    assert [(batch, start is None) for batch, start, _ in planner.calls] == [(3, True), (1, True), (2, False)]


def test_reset_rows_take_the_cold_search() -> None:
    """CEM-GD samples N_init for the row that was reset and N_r for the others, in one step."""
    asked: list[int] = []

    class Counting(Return):
        def at(self, state: Tensor, rng: torch.Generator) -> Callable[[Tensor], Tensor]:
            inner = super().at(state, rng)

            def objective(x: Tensor) -> Tensor:
                asked.append(x.shape[0] * x.shape[1])
                return inner(x)

            return objective

    planner = CEMGD(cold=CEM(samples=40, elites=4), warm=CEM(samples=10, elites=1))
    mpc = MPC(planner, 5, Counting(move, near_origin), SPACE, seed=0)
    mpc(np.ones((3, 2)))
    asked.clear()
    mpc.reset(mask=np.array([True, False, False]))
    mpc(np.ones((3, 2)))
    assert asked[0] == 40
    assert 2 * 11 in asked
    assert mpc.last is not None
    assert mpc.last.plan.best.shape == (3, 5, 2)
    mpc(np.ones((3, 2)))


def test_a_guess_is_the_first_plan_and_is_not_shifted() -> None:
    planner = Scripted()
    mpc = agent(planner, replan_every=2)
    guess = np.linspace(0, 0.4, 10).reshape(5, 2)
    mpc.reset(guess=guess)
    actions(mpc, 1, batch=3)
    start = planner.calls[0][1]
    assert start is not None
    assert torch.allclose(start.best, torch.as_tensor(guess).float().expand(3, 5, 2))


def test_a_budget_is_a_deadline_and_misses_are_counted() -> None:
    def slow(state: Tensor, action: Tensor) -> Tensor:
        time.sleep(0.002)
        return move(state, action)

    mpc = agent(CEM(iterations=1000), dynamics=slow, budget_s=0.03)
    action = mpc(np.ones(2))
    assert SPACE.contains(action)
    assert mpc.last is not None
    assert 0.03 < mpc.last.seconds < 5  # a thousand iterations would take ten
    assert mpc.last.misses == 1
    mpc(np.ones(2))
    assert mpc.last.misses == 2
    roomy = agent(budget_s=60.0)
    roomy(np.ones(2))
    assert roomy.last is not None
    assert roomy.last.misses == 0


def test_cold_and_warm_rows_share_the_budget() -> None:
    """The test drives the clock: a round takes a second, and each of the two searches gets half of ten seconds."""
    clock, rounds = [0.0], dict[bool, int]()

    @dataclass(frozen=True)
    class Ticking(Scripted):
        def plan(self, *args: Any, deadline: Any = None, **options: Any) -> Plan:
            cold = args[2] is None
            rounds[cold] = 0
            while deadline is not None and clock[0] < deadline:
                clock[0], rounds[cold] = clock[0] + 1, rounds[cold] + 1
            return super().plan(*args, deadline=deadline, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: clock[0])
        mpc = agent(Ticking(), budget_s=10.0)
        mpc(np.zeros((4, 2)))
        assert rounds == {True: 10}
        mpc.reset(mask=np.array([True, False, True, True]))
        mpc(np.zeros((4, 2)))
        assert rounds == {True: 5, False: 5}


# --- episodes of vector environments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [AutoresetMode.DISABLED, AutoresetMode.SAME_STEP, "disabled", "SameStep"])
def test_what_ended_starts_cold_at_the_next_observation(mode: Any) -> None:
    planner = Scripted()
    mpc = agent(planner, replan_every=3)
    actions(mpc, 2, batch=3)
    mpc.ended(np.array([False, True, False]), mode)
    assert actions(mpc, 2, batch=3) == [[3, 1, 3], [1, 2, 1]]
    assert [(batch, start is None) for batch, start, _ in planner.calls] == [(3, True), (1, True), (2, False)]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, "next_step"])
def test_no_plan_is_made_for_an_observation_that_is_an_episodes_last(mode: Any) -> None:
    """Its action does not count: it is the space's centre. The new episode starts cold after it."""
    planner = Scripted()
    mpc = agent(planner, replan_every=3)
    actions(mpc, 2, batch=3)
    mpc.ended(np.array([False, True, False]), mode)
    assert actions(mpc, 3, batch=3) == [[3, 0, 3], [1, 1, 1], [2, 2, 2]]
    assert [(batch, start is None) for batch, start, _ in planner.calls] == [(3, True), (1, True), (2, False)]


def test_all_may_end_at_once_even_at_the_first_step() -> None:
    planner = Scripted()
    mpc = agent(planner)
    actions(mpc, 1, batch=2)
    mpc.ended(np.array([True, True]), "next_step")
    assert actions(mpc, 2, batch=2) == [[0, 0], [1, 1]]
    assert [start is None for _, start, _ in planner.calls] == [True, True]


@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_loop_over_environments_in_any_mode(mode: AutoresetMode) -> None:
    """docs/guides/mpc.md: an episode's first plan starts cold, and its last observation gets no plan."""
    envs = gymnasium.make_vec("Pendulum-v1", num_envs=2, vectorization_mode="sync", max_episode_steps=4,
                              vector_kwargs={"autoreset_mode": mode})  # fmt: skip
    seen: list[tuple[list[float], bool]] = []

    @dataclass(frozen=True)
    class Watching(Scripted):
        def plan(self, *args: Any, **options: Any) -> Plan:
            seen.append((args[0].state[:, 0].tolist(), args[2] is None))
            return super().plan(*args, **options)

    mpc = agent(Watching(), dynamics=lambda s, a: s, reward=lambda s, a, n: s[:, 0], space=envs.single_action_space)
    observations, _ = envs.reset(seed=[0, 1])  # type: ignore[arg-type]
    first, last = [observations[:, 0].tolist()], list[list[float]]()
    over = np.zeros(2, bool)
    for _ in range(11):
        observations, _, terminated, truncated, _ = envs.step(mpc(observations))
        if over.all() and mode == AutoresetMode.NEXT_STEP:
            first.append(observations[:, 0].tolist())
        over = terminated | truncated
        if over.any():
            last.append(observations[:, 0].tolist())
            if mode == AutoresetMode.SAME_STEP:
                first.append(last.pop())
            if mode == AutoresetMode.DISABLED:
                observations, _ = envs.reset(options={"reset_mask": over})
                first.append(observations[:, 0].tolist())
        mpc.ended(over, envs.metadata["autoreset_mode"])
    cold = [state for state, is_cold in seen if is_cold]
    planned = [state for state, _ in seen]
    assert len(cold) >= 2
    assert np.array(cold) == pytest.approx(np.array(first[: len(cold)]))
    assert not any(state in planned for state in last)


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ValueError, match="ended: mode: expected 'disabled' or 'samestep' or 'nextstep', got 'later'"):
        agent().ended(np.array([True]), "later")


# --- choices ----------------------------------------------------------------------------------------------------------


def step_towards(state: Tensor, action: Tensor) -> Tensor:
    """Left, stay or right on one line, and up or down on another."""
    across = action[:, :3] @ torch.tensor([-0.5, 0.0, 0.5])
    return state + torch.stack([across, action[:, 3] - action[:, 4]], 1)


def test_actions_of_choices_are_what_the_environment_calls_them() -> None:
    both = gymnasium.spaces.MultiDiscrete([3, 2], start=[5, 0])
    mpc = agent(dynamics=step_towards, space=both)
    assert mpc(np.array([2.0, 3.0])).tolist() == [5, 1]
    assert both.contains(mpc(np.array([2.0, 3.0])))
    one = gymnasium.spaces.Discrete(3, start=-1)
    mpc = agent(dynamics=lambda s, a: s + 0.5 * (a[:, 2:] - a[:, :1]), space=one)
    action = mpc(np.array([-2.0, -2.0]))
    assert action == 1
    assert one.contains(action)
    mpc.reset(guess=[0, 0, 1, 1, -1])
    assert mpc(np.full((4, 2), 3.0)).tolist() == [-1] * 4


# --- to save and to go on ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", [CEM(warm="mean"), ICEM(), MPPI(), CEM(distribution=TanhNormal(), warm="mean")])
def test_it_goes_on_with_the_same_bits(planner: Planner) -> None:
    states = torch.rand(6, 3, 2, generator=torch.Generator().manual_seed(1))
    one = agent(planner)
    for state in states[:3]:
        one(state)
    one.reset(mask=np.array([False, True, False]))
    other = agent(planner, seed=7)
    other.load_state_dict(one.state_dict())
    for state in states[3:]:
        assert torch.equal(one(state), other(state))


def test_a_budget_of_zero_still_acts() -> None:
    mpc = agent(budget_s=0)
    assert SPACE.contains(mpc(np.ones(2)))


def test_nothing_finite_keeps_to_the_last_plan() -> None:
    """The model fails: the last plan continues, step by step."""
    broken = False

    def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return near_origin(state, action, next_state) * (torch.nan if broken else 1)

    mpc = agent(reward=reward)
    mpc(np.full(2, 1.5))
    assert mpc.last is not None
    standing = mpc.last.plan.best[0]
    broken = True
    assert np.array_equal(mpc(np.full(2, 1.5)), standing[1].numpy())
    assert not mpc.last.plan.ok.any()
    assert np.array_equal(mpc(np.full(2, 1.5)), standing[2].numpy())
    assert np.isfinite(mpc(np.full(2, np.nan))).all()


# --- what a user may get wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 0}, "horizon: expected an integer of at least 1, got 0"),
        ({"planner": CEM}, "planner: expected an object with a method plan, such as CEM"),
        ({"planner": "cem"}, "planner: expected an object with a method plan, such as CEM"),
        ({"replan_every": 6}, r"replan_every: expected an integer in \[1, 5\], got 6"),
        ({"budget_s": -1}, "budget_s: expected a number of at least 0 or nothing, got -1"),
        ({"budget_s": float("nan")}, "budget_s: expected a number"),
        ({"budget_s": "fast"}, "budget_s: expected a number"),
        ({"seed": "lucky"}, "seed: expected an integer or nothing, got 'lucky'"),
        ({"fill": "same"}, "fill: expected 'repeat' or 'zero' or 'center', got 'same'"),
        ({"space": gymnasium.spaces.MultiBinary(2)}, "Space.of: expected a Box, Discrete or MultiDiscrete space"),
        ({"space": None}, "Space.of: expected a Box, Discrete or MultiDiscrete space, got None"),
        ({"space": Box(torch.zeros(2, 2), torch.ones(2, 2))}, r"space: expected actions of shape \(A,\), got \(2, 2\)"),
        ({"dynamics": "model"}, "dynamics: expected a Dynamics or a function, got 'model'"),
        ({"reward": None}, "reward: expected a function, got None"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agent(**options)


def test_what_gives_no_objective_is_named() -> None:
    for other in (3, move, CEM()):
        with pytest.raises(ValueError, match=r"returns: expected an object with at, .*MPC\.of takes func"):
            MPC(CEM(), 5, other, SPACE)  # type: ignore[arg-type]


def test_arguments_of_before_are_answered_with_what_there_is_now() -> None:
    with pytest.raises(TypeError, match="MPC: 'box' is now called 'space'"):
        MPC(CEM(), 5, Return(move, near_origin), box=SPACE)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"MPC: 'dynamics' belongs to MPC\.of\(planner, horizon"):
        MPC(CEM(), horizon=5, dynamics=move, space=SPACE)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dynamics": lambda s, a: s[:, :1]}, r"dynamics: expected a tensor of shape \(100, 2\), .*got \(100, 1\)"),
        ({"dynamics": lambda s, a: (s + a).double()}, "dynamics: expected .*float32.*got .*float64"),
        ({"reward": lambda s, a, n: n.sum()}, r"reward: expected a tensor of shape \(500,\), .*got \(\)"),
    ],
)
def test_wrong_functions_are_named_at_the_first_call(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agent(**options)(np.zeros(2))


def test_wrong_observations_are_named() -> None:
    mpc = agent()
    with pytest.raises(ValueError, match=r"observation: expected numbers of shape \(S,\) or \(B, S\), got \(1, 2, 3\)"):
        mpc(np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match=r"observation: expected numbers of shape .*got \(\)"):
        mpc(np.array(3.0))
    with pytest.raises(ValueError, match=r"observation: expected numbers of shape .*got \(0, 2\)"):
        mpc(np.zeros((0, 2)))
    with pytest.raises(ValueError, match=r"observation: expected numbers of shape .*got \{'pixels': 3\}"):
        mpc({"pixels": 3})  # type: ignore[call-overload]
    mpc(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"observation: expected 2 problems, as before, got 3; call reset\(\) first"):
        mpc(np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"reset: expected a bool mask of shape \(2,\), got bool of shape \(3,\)"):
        mpc.reset(mask=np.zeros(3, bool))
    with pytest.raises(ValueError, match=r"reset: expected a bool mask of shape \(2,\), got int64"):
        mpc.reset(mask=np.zeros(2, int))


def test_wrong_guesses_are_named() -> None:
    mpc = agent()
    with pytest.raises(ValueError, match=r"reset: expected a guess of shape \(5, 2\), .*got \(4, 2\)"):
        mpc.reset(guess=np.zeros((4, 2)))
    with pytest.raises(ValueError, match="reset: expected a guess for all problems or a mask, got both"):
        mpc.reset(mask=np.ones(1, bool), guess=np.zeros((5, 2)))
    mpc.reset(guess=np.zeros((3, 5, 2)))
    with pytest.raises(ValueError, match="observation: expected 3 problems, as in the guess, got 1"):
        mpc(np.zeros(2))


def test_a_solver_can_be_driven_by_hand() -> None:
    """A user with an objective and no model calls `plan`, or `solve` with an Evaluator."""
    box = Box([-1.0], [1.0])
    plan = CEM().solve(Evaluator(lambda x: -(x - 0.5).square().sum(-1), Problem(box)))
    assert abs(plan.best.item() - 0.5) < 0.05
