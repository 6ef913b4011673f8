"""PETS (Chua et al. 2018): collect, fit a probabilistic ensemble, plan through it, act, repeat."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor

from elites.agents.learner import Array, Learner, State, Transition, restore
from elites.agents.mpc import MPC
from elites.agents.plan_value import PlanValue, ValueLearning
from elites.agents.policy_plans import PolicyReturn
from elites.agents.population import LINEAR, Population
from elites.agents.replay import Replay, transitions
from elites.agents.units import Spaces
from elites.dynamics import EnsembleConfig, ProbabilisticEnsemble, Return, Training
from elites.fields import Checked, Count, Fraction, NonNegative
from elites.networks.architecture import Architecture
from elites.planners import CEMGD, Planner, SamplingPlanner
from elites.spaces import Box, Space

if TYPE_CHECKING:
    import gymnasium

    from elites.envs.task import Task


@dataclass(frozen=True)
class PETSConfig(Checked):
    """Settings of PETS. The defaults are the CEM-GD paper's, with fewer particles."""

    planner: Planner = CEMGD()
    horizon: Count = 45  # steps in a plan
    particles: Count = 5  # rollouts of each candidate, spread over the members
    noise: Literal["common", "independent"] = "common"  # whether all candidates share the model's noise
    gradient: Literal["particles", "means"] = "particles"  # what ascents follow; `means` is one row for each member
    risk: NonNegative = 0.0  # standard deviations over the particles to subtract from a return
    discount: Fraction = 1.0  # factor of the reward for every step
    replan_every: Count = 1  # steps between two plans
    model: EnsembleConfig = EnsembleConfig(sampling="bfloat16x3")
    training: Training = Training()
    train_every: Count | None = None  # steps between two lessons; None learns before every episode
    plan: Literal["sequence", "policy"] = "sequence"  # the points of a search: action sequences or policies' weights
    policy: Architecture = LINEAR  # the network of a plan that is a policy
    graphs: bool = False  # on a GPU, record a plan as a CUDA graph and replay it
    value: ValueLearning | None = None  # a learned value at the end of a plan; {} takes its defaults, None is no value

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value is not None and self.discount == 1:
            raise ValueError("value: expected a discount below 1, such as 0.98, got 1; the value would be infinite")


class PETS(Learner):
    """An agent that learns a model from its own transitions: `act`, `observe`, `learn`."""

    TOLD = ("model_rmse", "model_coverage_90")

    def __init__(
        self,
        config: PETSConfig,
        task: Task,
        env: gymnasium.Env[Any, Any],  # of any observations and actions
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """env: an environment. Only its two spaces are used."""
        self.config, self.task = config, task
        (self.observed,) = env.observation_space.shape or ()
        self.rng = Generator(device).manual_seed(seed)
        self.space = Space.of(env.action_space, dtype=torch.get_default_dtype(), device=device)  # for one action
        state_size, (action_size,) = self.observed + task.learned_reward, self.space.shape
        self.model = ProbabilisticEnsemble(
            state_size,
            action_size,
            config.model,
            encode=task.encode,
            absolute=task.absolute,
            angles=task.angles,
            rng=self.rng,
        )
        self.value = None if config.value is None else PlanValue(state_size, config.value, task.encode, self.rng)
        options = {n: getattr(config, n) for n in ("discount", "particles", "risk", "noise", "gradient")}
        given = (self.model, task.reward, task.terminated, self.value)
        returns = Return(*given, **options) if config.plan == "sequence" else self._of_policies(*given, **options)
        self.mpc = MPC(
            config.planner,
            config.horizon,
            returns,
            self.space,
            replan_every=config.replan_every,
            seed=seed,
            device=device,
            graphs=config.graphs,
        )
        self.replay = Replay(transitions(state_size, action_size), device=device)
        self.plan_ms: list[float] = []
        self.fallbacks = 0  # plans without a finite value
        self._learned_at = -1  # the number of transitions at the last lesson
        self._warned = False

    def _of_policies(self, *given: Any, **options: Any) -> PolicyReturn:
        """The objective of plans that are policies. They see states as the model's networks do."""
        if not isinstance(self.space, Box) and not isinstance(self.config.planner, SamplingPlanner):
            name = type(self.config.planner).__name__
            raise ValueError(f"plan: expected a planner that only samples, as choices have no gradient, got {name}")
        features, device = self.model.features, self.space.device
        size = features(torch.zeros(1, self.model.state_size, device=device)).shape[1]
        population, horizon = Population(Spaces.of(size, self.space, device), self.config.policy), self.config.horizon
        return PolicyReturn(*given, **options, population=population, horizon=horizon, inputs=features)

    def begin(self, which: Array | None = None) -> None:
        self.mpc.reset(None if which is None or which.all() else which)  # None resets all, even if their number changed
        for where in np.flatnonzero([True] if which is None else which):
            self.replay.begin(int(where))

    def act(self, observation: Array, explore: bool = True) -> Array:
        """Plans an action. It is the same whether `explore` is true or not."""
        before = self.mpc.last
        action = self.mpc(self._state(observation, np.zeros(observation.shape[:-1])))
        if self.mpc.last is not before and self.mpc.last:
            self.plan_ms.append(1e3 * self.mpc.last.seconds)
            self.fallbacks += not self.mpc.last.plan.ok.all().item()
        return action

    def act_at_random(self, count: int) -> Array:
        found: Array = self.space.to_env(self.space.uniform(count, self.rng)).cpu().numpy()
        return found

    def observe(self, step: Transition) -> None:
        if step.terminated.any() and not self.task.terminated and not self._warned:
            self._warned = True
            warnings.warn("the environment terminated, but its task has no termination: plans ignore it", stacklevel=2)
        rows: dict[str, Array | Tensor] = {
            "state": self._state(step.observation, np.zeros_like(step.reward)),
            "action": self.space.from_env(step.action),
            "reward": step.reward,
            "next_state": self._state(step.next_observation, step.reward),
            "terminated": step.terminated,
            "truncated": step.truncated,
            "where": step.where,
        }
        self.replay.extend(rows)

    def due(self, episode_begins: bool) -> bool:
        every = self.config.train_every
        if self._learned_at < 0 or every is None:
            return self._learned_at < self.replay.total and (episode_begins or self._learned_at < 0)
        return self.replay.total - self._learned_at >= every

    def learn(self, progress: Callable[[str], None] = lambda text: None) -> dict[str, float]:
        training = self.config.training

        def epoch(number: int, loss: float, held_out: float) -> None:
            progress(f"training  epoch {number}/{training.epochs}  loss {loss:.2f}  held out {held_out:.2f}")

        state, action, next_state = (self.replay.column(name) for name in ("state", "action", "next_state"))
        fit = training.fit(self.model, state, action, next_state, self.rng, epoch)
        figures = {f"model_{name}": value for name, value in asdict(fit).items()}
        if self.value is not None:
            figures["value_error"] = self._learn_value(self.value, progress)
        self._learned_at = self.replay.total
        return figures

    def _learn_value(self, value: PlanValue, progress: Callable[[str], None]) -> float:
        learning = value.config

        def epoch(number: int, error: float) -> None:
            progress(f"learning values  epoch {number}/{learning.epochs}  error {error:.3f}")

        return learning.fit(value, self.replay.episodes(), self.config.discount, self.rng, epoch)

    def summary(self) -> dict[str, float | str]:
        times = self.plan_ms or [float("nan")]
        median, late = (round(float(np.percentile(times, share)), 1) for share in (50, 95))
        found: dict[str, float | str] = {"plan_ms_median": median, "plan_ms_p95": late, "fallbacks": self.fallbacks}
        return found | ({"engine": self.model.engine} if self.model.engine else {})  # None before the first rollout

    @torch.no_grad()
    def predict(self, start: int, steps: int, particles: int = 100) -> tuple[Array, Array]:
        """Predicts open loop from a transition with its actions: (T, S) states that came, (P, T, S) predictions."""
        columns = (self.replay.column(name) for name in ("state", "action", "next_state"))
        state, action, following = (column[start : start + steps] for column in columns)
        noise = self.model.draw(particles, len(action), Generator(self.rng.device).manual_seed(0))
        foreseen = self.model.rollout(state[0], action[None], noise)[0].cpu().numpy()
        came = torch.cat([state[:1], following]).cpu().numpy()
        angles = list(self.task.angles)
        came[:, angles] = np.unwrap(came[:, angles], axis=0)  # without jumps at a full turn
        return came[1:], foreseen

    def state_dict(self) -> State:
        return {
            "model": self.model.state_dict(),
            **({} if self.value is None else {"value": self.value.state_dict()}),
            "replay": self.replay.state_dict(),
            "mpc": self.mpc.state_dict(),
            "rng": self.rng.get_state(),
            "learned_at": self._learned_at,
            "plan_ms": torch.tensor(self.plan_ms, dtype=torch.float64),
            "fallbacks": self.fallbacks,
        }

    def load_state_dict(self, state: State) -> None:
        self.model.load_state_dict(state["model"])
        if self.value is not None and "value" in state:  # the checkpoint can be from settings without a value
            self.value.load_state_dict(state["value"])
        self.replay.load_state_dict(state["replay"])
        self.mpc.load_state_dict(state["mpc"])
        restore(self.rng, state["rng"])
        self._learned_at, self.fallbacks = state["learned_at"], state["fallbacks"]
        self.plan_ms = state["plan_ms"].tolist()

    def _state(self, observation: Array, reward: Array) -> Array:
        """The model's state: the observation, with a learned reward as its last entry."""
        return np.concatenate([observation, reward[..., None]], -1) if self.task.learned_reward else observation
