"""Q-learning from replay: all that DDPG, TD3, SAC and CGP need not say again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from elites.agents.learner import Learner, Transition, restore
from elites.agents.replay import Replay
from elites.fields import Checked, Count, Fraction, Positive, Rate
from elites.networks.policies import Critics, Policy, follow, slow_copy
from elites.spaces import Box

Array = NDArray[Any]
Batch = Mapping[str, Tensor]  # a minibatch: see Replay.FIELDS
PARTS = ("critics", "slow_critics", "policy", "slow_policy", "critic_optimizer", "policy_optimizer", "replay")


@dataclass(frozen=True)
class Algorithm(Checked, ABC):
    """Rules, and the hyperparameters that all share; these are the CGP paper's (Simmons-Edler et al. 2019, Table 2).

    In every rule states are (R, S), and actions (R, A) in the unit cube [-1, 1]^A, whatever the world's box is.
    What has been learned is in `Learned`.
    """

    slow_policy: ClassVar[bool] = False  # whether `next_value` asks for a slow copy of the policy
    width: Count = 256  # of two hidden layers
    critics: Count = 2  # 2: the lesser of the two is the target, as in TD3
    critic_rate: Positive = 1e-3
    policy_rate: Positive = 1e-3
    batch: Count = 128
    discount: Fraction = 0.99
    tau: Rate = 0.005
    policy_every: Count = 1  # updates of the critics for one of the policy
    target_every: Count = 2  # and for one of the targets
    capacity: Count = 1_000_000

    def policy(self, state_size: int, box: Box, rng: Generator) -> Policy | None:
        """Its policy network, where it has one."""
        return Policy(state_size, box, self.hidden, rng)

    @abstractmethod
    def explore(self, learned: Learned, state: Tensor) -> Tensor:
        """The actions by which data is collected."""

    def exploit(self, learned: Learned, state: Tensor) -> Tensor:
        """The actions that are thought best."""
        action: Tensor = learned.policy.action(state)
        return action

    @abstractmethod
    def next_value(self, learned: Learned, state: Tensor) -> Tensor:
        """What is to be expected from a next state on, (R,), by the target networks."""

    @abstractmethod
    def policy_loss(self, learned: Learned, batch: Batch) -> Tensor:
        """What the policy is to make small over a minibatch."""

    @property
    def policy_waits(self) -> bool:
        """Whether the policy learns only after the Q-function has: see `OffPolicy.finish`."""
        return False

    @property
    def hidden(self) -> tuple[int, int]:
        return self.width, self.width


@dataclass
class Learned:
    """The networks, their slow copies (the targets), and the randomness."""

    critics: Critics
    slow_critics: Critics
    policy: Any  # the algorithm's Policy, or None
    slow_policy: Any  # where the algorithm asks for it
    cube: Box  # [-1, 1]^A
    rng: Generator


class OffPolicy(Learner):
    """An agent that learns by an algorithm from all that is in its `replay`: `act`, `update`, at the end `finish`."""

    def __init__(
        self, algorithm: Algorithm, state_size: int, box: Box, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        if not box.bounded or len(box.shape) != 1:
            raise ValueError(f"box: expected one of a vector with finite bounds, got {box}")
        self.algorithm = a = algorithm
        self.box = box = box.to(dtype=torch.float32, device=device)
        self.rng = rng = Generator(device).manual_seed(seed)
        cube = Box(-torch.ones_like(box.low), torch.ones_like(box.high))
        critics = Critics(state_size, box.shape[0], a.critics, a.hidden, rng)
        policy = a.policy(state_size, box, rng)
        slow_policy = slow_copy(policy) if policy and a.slow_policy else None
        self.learned = Learned(critics, slow_copy(critics), policy, slow_policy, cube, rng)
        self.critic_optimizer = torch.optim.Adam(critics.parameters(), a.critic_rate, fused=True)
        self.policy_optimizer: Any = policy and torch.optim.Adam(policy.parameters(), a.policy_rate, fused=True)
        self.replay = Replay(a.capacity, device)
        self.updates, self.policy_updates = 0, 0
        self._tally, self._tallied = torch.zeros(2, device=device), 0  # of losses and values, since `figures`

    @torch.no_grad()
    def act(self, observation: Any, explore: bool = True) -> Array:
        """(S) -> (A), or (N, S) -> (N, A). While the policy still waits for its turn, all is done by what explores."""
        state = torch.as_tensor(observation, dtype=torch.float32, device=self.rng.device)
        rule = self.algorithm.explore if explore or self.policy_waits else self.algorithm.exploit
        action = self.box.from_unit(rule(self.learned, state.reshape(-1, state.shape[-1])))
        return action.reshape(*state.shape[:-1], -1).cpu().numpy()

    def act_at_random(self, count: int) -> Array:
        return self.box.uniform(count, self.rng).cpu().numpy()

    def observe(self, step: Transition) -> None:
        rows = {"action": step.action, "reward": step.reward, "terminated": step.terminated}
        self.replay.extend(state=step.observation, next_state=step.next_observation, **rows)

    def improve(self, steps: int) -> None:
        for _ in range(steps):
            self.update()

    def update(self) -> Tensor:
        """One step on a minibatch, towards r + γ (1 - terminated) · what is to be expected next; its loss."""
        a, batch = self.algorithm, self.replay.sample(self.algorithm.batch, self.learned.rng)
        values = self.learned.critics.values(batch["state"], self.box.to_unit(batch["action"]))
        loss = (values - self.target(batch)).square().mean(-1).sum()
        _descend(self.critic_optimizer, self.learned.critics, loss)
        self.updates += 1
        self._tally += torch.stack([loss.detach(), values.detach().mean()])
        self._tallied += 1
        if self.learned.policy and not a.policy_waits and self.updates % a.policy_every == 0:
            self.update_policy(batch)
        if self.updates % a.target_every == 0:
            follow(self.learned.slow_critics, self.learned.critics, a.tau)
            if self.learned.slow_policy:
                follow(self.learned.slow_policy, self.learned.policy, a.tau)
        return loss.detach()

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        """(R,). Only what has terminated has no future; what was truncated has (CGP, App. C)."""
        future = self.algorithm.next_value(self.learned, batch["next_state"])
        return batch["reward"] + self.algorithm.discount * (1 - batch["terminated"]) * future

    def update_policy(self, batch: Batch) -> Tensor:
        loss = self.algorithm.policy_loss(self.learned, batch)
        _descend(self.policy_optimizer, self.learned.policy, loss)
        self.policy_updates += 1
        return loss.detach()

    @property
    def policy_waits(self) -> bool:
        """Whether there is a policy that has yet to learn from the Q-function: see `finish`."""
        return self.algorithm.policy_waits and self.policy_updates < self._policy_updates_due

    @property
    def _policy_updates_due(self) -> int:
        return max(1, self.updates // self.algorithm.policy_every)

    def finish(self, pause: Callable[[str], None] = lambda text: None) -> None:
        """Where the policy has waited: as many updates as it would have had, with the Q-function as it is now."""
        due = self._policy_updates_due
        while self.policy_waits and self.updates:
            loss = self.update_policy(self.replay.sample(self.algorithm.batch, self.rng))
            if self.policy_updates % 20 == 0:
                pause(f"training the policy  update {self.policy_updates}/{due}  loss {loss:.4f}")

    def figures(self) -> dict[str, float]:
        """The mean loss of the critics, and the mean of their values."""
        if not self._tallied:
            return {}
        loss, value = (self._tally / self._tallied).tolist()
        self._tally, self._tallied = torch.zeros_like(self._tally), 0
        return {"critic_loss": loss, "value": value}

    def non_finite(self) -> str | None:
        for name in ("critics", "policy"):
            module = getattr(self.learned, name)
            if module and not all(parameter.isfinite().all() for parameter in module.parameters()):
                return f"weights of the {name} that are not (a smaller agent.critic_rate may help)"
        return None

    def state_dict(self) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        counts = {"updates": self.updates, "policy_updates": self.policy_updates, "tallied": self._tallied}
        return parts | counts | {"tally": self._tally, "rng": self.rng.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        held, parts = [name for name in PARTS if name in state], self._parts()
        if held != list(parts):
            raise RuntimeError(f"expected {', '.join(parts)}, found {', '.join(held)}")
        for name, part in parts.items():
            mine = state[name]
            if isinstance(part, torch.optim.Optimizer):  # whose parameters' numbers are strings in a checkpoint
                mine = mine | {"state": {int(number): of for number, of in mine["state"].items()}}
            part.load_state_dict(mine)
        rates = {"critic_optimizer": self.algorithm.critic_rate, "policy_optimizer": self.algorithm.policy_rate}
        for name, rate in rates.items():  # which may be others now
            for group in getattr(getattr(self, name), "param_groups", ()):
                group["lr"] = rate
        restore(self.rng, state["rng"])
        self.updates, self.policy_updates = state["updates"], state["policy_updates"]
        self._tally, self._tallied = state["tally"].to(self._tally), state["tallied"]

    def _parts(self) -> dict[str, Any]:
        found = vars(self.learned) | vars(self)
        return {name: found[name] for name in PARTS if found[name] is not None}


def _descend(optimizer: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
    """A step of its parameters alone, whatever else the loss went through."""
    parameters = list(module.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()
