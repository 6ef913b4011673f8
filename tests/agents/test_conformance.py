"""The rules for every agent: the registered algorithms, and three kinds that only the tests have."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from small_algorithms import SMALL, Burst
from torch import Generator, Tensor, tensor

from elites import Box, config
from elites.agents import AGENTS, BC, Agent, Algorithm, Grown, Pace, Transition
from elites.agents.algorithms.stochastic import StochasticPolicy
from elites.runs import checkpoint
from elites.spaces import Choices

UNIT = Box([-1.0], [1.0])
OFFLINE = {"cgp offline": {"name": "cgp", "mode": "offline"}, "qgp offline": {"name": "qgp", "mode": "offline"}}
# those that accept choices
CHOOSES = ("burst", "segment", "closed_form", "qt_opt", "awac", "awr", "rwr", "bc", "dspg", "ppo", "trpo")
CHOOSES += ("reps", "urex", "reinforce", "dqn", "cgp", "cgp offline", "qgp", "qgp offline", "ddpg", "td3")
ONLY_CHOOSES = ("dqn",)
ALL = [*sorted(AGENTS), *OFFLINE, *SMALL]
BOXES = [name for name in ALL if name not in ONLY_CHOOSES]


ON_POLICY = ("ppo", "trpo", "vmpo", "reps", "urex", "reinforce", "segment")
BURSTS = ("awr", "rwr", "power", "burst", *ON_POLICY)  # many descents in an update
# less work in an update, and a pace for short tests
SMALLER: dict[str, dict[str, Any]] = {
    "awr": {"pace": {"every": 100}, "value_steps": 2000, "policy_steps": 4000},
    "rwr": {"pace": {"every": 100}, "policy_steps": 4000},
    "mpo": {"pace": {"every": 1, "learning_starts": 50}, "batch": 32, "actions": 8},
    "dspg": {"pace": {"updates": 1, "every": 1, "learning_starts": 50}, "batch": 32, "actions": 8},
    "awac": {"batch": 64},
    "bc": {"batch": 64},
    **{name: {"pace": {"every": 100}} for name in ("ppo", "trpo", "vmpo", "reps", "urex", "reinforce", "power")},
}


def of(**architecture: Any) -> dict[str, Any]:
    """A network with one architecture for all, as a mapping."""
    return {"policy": architecture, "value": architecture}


def made(name: str, **changes: Any) -> Algorithm:
    if name in SMALL:
        return replace(SMALL[name], **changes)
    network = of(hidden=[8, 8])
    if name in ("awr", "rwr"):  # biases begin at 0, so few units of ReLU live; and their SGD takes small steps
        network = of(hidden=[8, 8], activation="tanh") | {"policy_optimizer": {"rate": 0.01}}
    mapping = {} if name == "power" else {"network": network}  # a policy that is linear in features
    mapping |= {**SMALLER.get(name, {}), **OFFLINE.get(name, {"name": name})}
    return config.build(Algorithm, mapping | changes)  # type: ignore[type-abstract]


def space_of(name: str) -> Any:
    return Discrete(3) if name in ONLY_CHOOSES else UNIT


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def same(a: Any, b: Any) -> bool:
    """Whether nested states are equal, bit for bit."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, Grown):
        return a.first == b.first and same(a.columns, b.columns)
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


class Walk:
    """x' = x + a / 2, from a random x in [-1, 1], with reward -x'². Truncated after at most five steps.

    The best action is a = -2x, inside [-1, 1]. With choices, a is -1, 0 or 1.
    """

    def __init__(self, count: int = 1, choices: bool = False, seed: int = 5) -> None:
        self.rng, self.choices = np.random.default_rng(seed), choices
        self.x, self.age = self.rng.uniform(-1, 1, (count, 1)), np.arange(count) % 5

    def best(self) -> Any:
        """The best actions; for choices, the nearest ones."""
        move = np.clip(-2 * self.x, -1, 1)
        return np.round(move[:, 0]).astype(int) + 1 if self.choices else move

    def step(self, action: Any) -> Transition:
        move = np.reshape(action, self.x.shape) - (1 if self.choices else 0)
        before, following = self.x, self.x + move / 2
        self.age = (self.age + 1) % 5
        ended = self.age == 0
        self.x = np.where(ended[:, None], self.rng.uniform(-1, 1, self.x.shape), following)
        never = np.zeros(len(ended), dtype=bool)
        return Transition(before, action, -(following[:, 0] ** 2), following, never, ended, np.arange(len(ended)))


def learn(agent: Agent, steps: int, walk: Walk | None = None, random: int = 100) -> Walk:
    """Learns like a loop, with steps counted over all environments. `bc` watches the best actions."""
    walk = walk or Walk(choices=isinstance(agent.spaces.world, Choices))
    for step in range(steps):
        watches = isinstance(agent.algorithm, BC)
        action = agent.act_at_random(len(walk.x)) if step < random or watches else agent.act(walk.x)
        action = walk.best() if watches else action
        ended = walk.step(action)
        agent.observe(ended)
        if step >= random:
            agent.improve(len(walk.x))
        if ended.truncated.any():
            agent.begin(ended.truncated)
    return walk


# --- learning ---------------------------------------------------------------------------------------------------------

NARROW = of(hidden=[64, 64])
FAST = NARROW | {"policy_optimizer": {"rate": 3e-3}, "value_optimizer": {"rate": 3e-3}}
PLAIN = FAST | {"name": "plain"}
TUNED: dict[str, dict[str, Any]] = {
    **{name: {"network": NARROW} for name in ("ddpg", "td3", "qgp")},
    "sac": {"network": FAST, "temperature_rate": 3e-3},  # its temperature starts at 1, far from its target
    "dspg": {"network": PLAIN, "reward_scale": 20.0},
    "mpo": {"network": PLAIN, "target_every": 20},
    "awac": {"network": PLAIN, "temperature": 0.1, "head": {"std": 0.4}},
    "awr": {"network": PLAIN, "temperature": 0.5, "capacity": 300, "discount": 0.9},  # it imitates all it holds
    "rwr": {"network": PLAIN},
    "bc": {"network": PLAIN},
    "reps": {"network": PLAIN},
    "urex": {"network": of(hidden=[32]) | {"policy_optimizer": {"rate": 0.005}}, "weight": 0.3, "pace": {"every": 10}},
    "reinforce": {"network": PLAIN, "pace": {"every": 10}},
    "power": {"centres": 9, "std": 1.0, "least_std": 0.3, "reward_scale": 0.03, "best": 200},
}
SEARCHES = ("cgp", "cgp offline", "qgp", "qgp offline", "qt_opt")  # a step takes long, and few steps suffice
STEPS = {
    "burst": 1600,
    "segment": 1600,
    "reps": 3000,
    "urex": 24_000,
    "reinforce": 24_000,
    "power": 3000,
} | dict.fromkeys(SEARCHES, 600)


def regret(agent: Agent) -> float:
    """The mean distance of its actions from the best; random actions have 0.8."""
    x = torch.linspace(-1, 1, 41).unsqueeze(1)
    action = torch.as_tensor(agent.act(x.numpy(), explore=False))
    return (action - (-2 * x).clamp(-1, 1)).abs().mean().item()


@pytest.mark.parametrize("name", BOXES)
def test_every_agent_solves_an_easy_task(name: str) -> None:
    width = {} if name in SMALL or name == "power" else {"network": NARROW}
    agent = Agent(made(name, **{**width, **TUNED.get(name, {})}), 1, UNIT, seed=0)
    learn(agent, STEPS.get(name, 1000))
    agent.finish()
    assert regret(agent) < 0.15
    assert not agent.unfinished


@pytest.mark.parametrize("name", ALL)
def test_several_environments_at_once(name: str) -> None:
    """Each row belongs to its own environment, also for whole episodes."""
    agent = Agent(made(name), 1, space_of(name), seed=0)
    learn(agent, 60, Walk(3, name in ONLY_CHOOSES), random=20)
    assert agent.replay.total == 180
    assert agent.steps == 120 if not agent.algorithm.pace.learning_starts else agent.steps <= 120
    for episode in agent.replay.episodes():
        assert torch.equal(episode.next_state[:-1], episode.state[1:])
        assert episode.truncated[:-1].sum() == 0
        assert episode.ends == bool(episode.truncated[-1])
    each = () if name in ONLY_CHOOSES else (1,)
    assert agent.act(np.zeros((3, 1))).shape == (3, *each)
    assert agent.act(np.zeros(1)).shape == each


@pytest.mark.parametrize("name", ALL)
def test_choices_work_or_are_refused_in_one_line(name: str) -> None:
    if name not in CHOOSES:
        with pytest.raises(ValueError, match=r"^[^\n]*: expected .*, got Choices\([^\n]*\)$"):
            Agent(made(name), 1, Discrete(3), seed=0)
        return
    agent = Agent(made(name, **TUNED.get(name, {})), 1, Discrete(3), seed=0)
    learn(agent, max(1500, STEPS.get(name, 0)), Walk(choices=True))
    x = np.linspace(-1, 1, 41)[:, None]
    action = agent.act(x, explore=False)
    assert action.shape == (41,)
    assert np.issubdtype(action.dtype, np.integer)
    far = np.abs(x[:, 0]) > 0.5
    assert (action[far] == np.where(x[far, 0] > 0, 0, 2)).mean() > 0.9
    held = agent.replay.column("action") if len(agent.replay) else torch.eye(3)
    assert torch.equal(held.sum(-1), torch.ones(len(held))), "one-hot"


# --- randomness and checkpoints ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_equal_seeds_give_equal_agents(name: str) -> None:
    first, second, third = (Agent(made(name), 1, space_of(name), seed=seed) for seed in (3, 3, 4))
    for agent in (first, second, third):
        learn(agent, 210)
    assert same(first.state_dict(), second.state_dict())
    assert not same(first.nets.state_dict(), third.nets.state_dict())


@pytest.mark.parametrize("name", ALL)
def test_a_checkpoint_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    """A checkpoint can hold tensors, rows that grow, and JSON."""
    pace = Pace(every=50 if name in BURSTS else 3)
    first, second = (Agent(made(name, pace=pace), 1, space_of(name), seed=seed) for seed in (3, 4))
    walk = learn(first, 211)
    state = checkpoint.read(checkpoint.write(tmp_path, first.state_dict()))
    json.dumps(first.state_dict(), default=lambda value: {Tensor: "tensor", Grown: "rows"}[type(value)])
    second.load_state_dict(state)
    assert same(second.state_dict(), first.state_dict())
    assert first.updates > 0
    for agent in (first, second):
        learn(agent, 120, copy.deepcopy(walk), random=10)
        agent.finish()
    assert same(second.state_dict(), first.state_dict())
    assert second.figures() == first.figures()


@pytest.mark.parametrize("name", ALL)
def test_the_state_of_another_algorithm_is_refused(name: str) -> None:
    agent, other = (Agent(made(n), 1, space_of(n), 0) for n in (name, "sampled" if name == "ddpg" else "ddpg"))
    if agent.nets.modules.keys() != other.nets.modules.keys():
        with pytest.raises(RuntimeError, match=r"expected modules .*, found .*"):
            agent.load_state_dict(other.state_dict())


# --- updates ----------------------------------------------------------------------------------------------------------


def snapshot(agent: Agent) -> dict[str, dict[str, Tensor]]:
    held = agent.nets.modules | {f"slow {name}": copy for name, copy in agent.nets.copies.items()}
    return {name: {key: value.clone() for key, value in of.state_dict().items()} for name, of in held.items()}


@pytest.mark.parametrize("name", ALL)
def test_a_loss_moves_every_parameter_of_its_module_and_no_other(name: str) -> None:
    """No other parameter has a gradient. A descent never moves slow copies."""
    agent = Agent(made(name), 1, space_of(name), seed=0)
    learn(agent, 100)
    moved: set[str] = set()
    learned = {name for name, part in agent.nets.parts.items() if part.optimizer}
    rules = [agent.algorithm.update] * 4 + ([agent.algorithm.finish] if agent.algorithm.finishing(1) else [])
    for step, rule in enumerate(rules, 1):
        before = snapshot(agent)
        for module, loss, *_ in rule(agent.nets, agent.replay, step):
            assert loss.shape == ()
            now = snapshot(agent)
            assert same(*({k: v for k, v in of.items() if k in learned} for of in (now, before))), "between losses"
            before = now
            for parameter in (p for held in agent.nets.modules.values() for p in held.parameters()):
                parameter.grad = None
            agent.nets.descend(module, loss)
            after = snapshot(agent)
            for key in after:
                if key == module:
                    named = agent.nets.modules[key].named_parameters()
                    still = [p for n, p in named if torch.equal(after[key][n], before[key][n])]
                    assert all(p.grad is not None and p.grad.any() for p in still), "momentum can cancel a step"
                else:
                    assert same(after[key], before[key])
                    grads = [p.grad for p in agent.nets.modules.get(key, torch.nn.Module()).parameters()]
                    assert grads == [None] * len(grads)
            moved.add(module)
            before = after
        if rule == agent.algorithm.update and not len(agent.replay):
            break
    assert moved == learned


@pytest.mark.parametrize("name", ALL)
def test_updates_keep_the_pace(name: str) -> None:
    """Three updates after every seventh step, from the fiftieth transition on."""
    times = 1 if name in ON_POLICY else 3
    agent = Agent(made(name, pace=Pace(updates=times, every=7, learning_starts=50)), 1, space_of(name), seed=0)
    learn(agent, 49 + 6, random=10)
    assert agent.updates == 0
    learn(agent, 8, random=0)
    assert agent.updates == 2 * times


@pytest.mark.parametrize("name", ALL)
def test_what_is_not_finite_is_named(name: str) -> None:
    agent = Agent(made(name), 1, space_of(name), seed=0)
    learn(agent, 100)
    assert agent.non_finite() is None
    for module in agent.nets.modules:
        for bad in (math.nan, math.inf):
            weights = next(iter(agent.nets.modules[module].state_dict().values())).view(-1)
            good = weights[-1].item()
            weights[-1] = bad
            assert agent.non_finite() == f"weights of the {module} that are not (a smaller learning rate may help)"
            weights[-1] = good
    for module, slow in agent.nets.copies.items():
        next(slow.parameters()).data.view(-1)[0] = math.nan
        assert f"weights of the slow {module} that are not" in str(agent.non_finite())
        next(slow.parameters()).data.view(-1)[0] = 0.0


@pytest.mark.parametrize("name", [name for name in ALL if name != "bc"])  # which does not use rewards
def test_a_loss_that_is_not_finite_is_found(name: str) -> None:
    """A NaN reward reaches the weights and is found there."""
    agent = Agent(made(name), 1, space_of(name), seed=0)
    learn(agent, 100)
    agent.replay._columns["reward"][:] = math.nan
    agent.update()
    assert agent.non_finite()


# --- actions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOXES)
def test_actions_stay_in_the_box(name: str) -> None:
    box = Box([-2.0, 0.0], [4.0, 1.0])
    agent = Agent(made(name), 3, box, seed=0)
    for explore in (True, False):
        actions = torch.as_tensor(agent.act(torch.randn(50, 3, generator=rng(1)).numpy(), explore))
        assert actions.shape == (50, 2)
        assert torch.equal(actions, box.project(actions))
    random = torch.as_tensor(agent.act_at_random(500))
    assert torch.equal(random, box.project(random))
    assert (random.amin(0) - box.low < 0.1).all()
    assert (box.high - random.amax(0) < 0.1).all()


@pytest.mark.parametrize("name", BOXES)
def test_how_large_the_box_is_makes_no_difference(name: str) -> None:
    """The agent learns the same on [-1, 1]² and [-4, 0] × [-3, 5], bit for bit: they differ by powers of two."""
    small, large = Box([-1.0, -1.0], [1.0, 1.0]), Box([-4.0, -3.0], [0.0, 5.0])
    states, moves = torch.randn(40, 3, generator=rng(1)), small.uniform(40, rng(2)).mul(64).round().div(64)
    never, learned, actions = np.zeros(40, dtype=bool), [], []
    for box in (small, large):
        agent = Agent(made(name), 3, box, seed=0)
        taken = box.from_unit(moves).numpy()
        numbers = np.arange(40) % 4
        rows = (states.numpy(), taken, states[:, 0].numpy(), states.flip(0).numpy(), never, never, numbers)
        agent.observe(Transition(*rows))
        assert torch.equal(agent.replay.column("action"), moves)
        for _ in range(1 if name in ON_POLICY else 5):
            agent.update()
        learned.append(agent.nets.state_dict())
        actions.append(box.to_unit(torch.as_tensor(agent.act(states.numpy()))))
    assert same(*learned)
    torch.testing.assert_close(*actions)


@pytest.mark.parametrize("name", BOXES)
def test_the_executed_action_is_held_and_the_raw_one_where_it_is_asked_for(name: str) -> None:
    """The replay holds the executed action, even if it differs from the action asked for."""
    wide: dict[str, Any] = {"spread": 3.0} if name in ("burst", "segment") else {}
    if isinstance(made(name), StochasticPolicy) and name != "sac":
        wide = {"head": {"std": 3.0}}
    agent = Agent(made(name, **wide), 1, Box([-4.0], [4.0]), seed=0)
    states = np.zeros((60, 1))
    asked = agent.act(states)
    executed = (asked / 2).astype(np.float64)
    rows, none = np.array([5, 3, 40]), np.zeros(3, dtype=bool)
    agent.observe(Transition(states[rows], executed[rows], none * 1.0, states[rows], none, none, rows))
    assert torch.equal(agent.replay.column("action"), tensor(executed[rows] / 4).float())
    if "raw_action" in agent.replay.schema:
        raw = agent.replay.column("raw_action")
        assert torch.equal(raw.clamp(-1, 1), tensor(asked[rows] / 4))
        assert np.abs(asked).max() == 4
        none = np.zeros(60, dtype=bool)
        agent.observe(Transition(states, agent.act_at_random(60), states[:, 0], states, none, none, np.arange(60)))
        assert torch.equal(agent.replay.column("raw_action")[3:], agent.replay.column("action")[3:])


def test_an_episode_that_begins_anew_is_another() -> None:
    """Only in that environment, whether the last episode has ended or not."""
    agent = Agent(made("td3"), 1, UNIT, seed=0)
    x, none, where = np.zeros((2, 1)), np.zeros(2, dtype=bool), np.arange(2)
    for _ in range(2):
        agent.begin(np.array([False, True]))
        agent.observe(Transition(x, x, x[:, 0], x, none, none, where))
    assert [episode.length for episode in agent.replay.episodes()] == [2, 1, 1]
    assert not any(episode.ends for episode in agent.replay.episodes())


def test_a_box_without_bounds_is_refused() -> None:
    for box in (Box([-math.inf], [math.inf]), Box([[-1.0]], [[1.0]])):
        with pytest.raises(ValueError, match="action space: expected a vector with finite bounds, got Box"):
            Agent(made("td3"), 3, box, seed=0)


def test_the_name_of_before_is_answered_with_the_new_one() -> None:
    with pytest.raises(ValueError, match=r"^config: name: 'cem' is now called 'qt_opt'$"):
        config.build(Algorithm, {"name": "cem"})  # type: ignore[type-abstract]


def test_showing_what_was_learned_leaves_the_raw_action_alone() -> None:
    """Also while every action explores."""

    class Waiting(Burst):
        def finishing(self, updates: int) -> int:
            return 1

    agent = Agent(Waiting(), 1, UNIT, seed=0)
    states, none = np.zeros((4, 1)), np.zeros(4, dtype=bool)
    taken = agent.act(states)
    shown = agent.act(states, explore=False)
    assert not np.array_equal(taken, shown)
    agent.observe(Transition(states, taken, states[:, 0], states, none, none, np.arange(4)))
    assert np.array_equal(agent.replay.column("raw_action").clamp(-1, 1).numpy(), taken)
