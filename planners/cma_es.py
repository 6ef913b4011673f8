"""CMA-ES by the package `cma`, behind the same ask and tell (extra `elites[cma]`)."""

from __future__ import annotations

import io
import math
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from elites.fields import Count, Positive
from elites.planners.cem import TopK
from elites.planners.distributions import ClippedNormal, Refit
from elites.planners.distributions.normals import Normal
from elites.planners.planner import SamplingPlanner, first_state
from elites.planners.problem import Problem
from elites.planners.search import Candidates, Saved, Search
from elites.planners.weighting import teaches
from elites.spaces import Box, Space


@dataclass(frozen=True)
class CMAES(SamplingPlanner):
    """The covariance matrix adaptation of Hansen, for points of up to some hundreds of dimensions.

    Each problem of a batch has a strategy of its own. `cma` keeps the candidates inside the box.
    """

    samples: Count | None = None  # λ, candidates per iteration; None is 4 + 3 ln D
    iterations: Count = 5  # rounds of drawing, scoring and refitting
    spread: Positive = 0.5  # the first step size, in half widths of the box

    def require(self, space: Space) -> None:
        if not isinstance(space, Box):
            raise ValueError(f"CMAES: expected a Box, got {space!r}; use CEM or ICEM for choices")

    def search(self, problem: Problem) -> CMASearch:
        self.require(problem.space)
        samples = self.samples or 4 + int(3 * math.log(problem.space.centre.numel()))
        return CMASearch(problem, max(samples, 2), self.iterations, self.spread)


class CMASearch(Search):
    """A search whose candidates come from strategies of `cma`. Its state is their mean and spread in each dimension."""

    def __init__(self, problem: Problem, samples: int, iterations: int, spread: float) -> None:
        distribution = ClippedNormal()
        state = first_state(distribution, problem, spread, warm="mean")
        only = {"weighting": TopK(1), "refit": Refit(1.0, 1.0), "samples": [samples] * iterations}
        super().__init__(problem, distribution, state, **only)  # type: ignore[arg-type]
        assert isinstance(problem.space, Box)
        self.middle, self.half = _array(problem.space.centre, -1), _array(problem.space.half, -1)
        self.unit = np.where(self.half > 0, self.half, 1.0)  # an empty side has one point
        centre = distribution.points(state[0], problem.space)
        means = (_array(centre, math.prod(problem.batch), -1) - self.middle) / self.unit
        ends = ((problem.space.low, -1), (problem.space.high, 1))
        self._bounds = [np.where(np.isfinite(_array(end, -1)), unit, unit * np.inf) for end, unit in ends]
        self.sent: Any = np.zeros(0)  # the last candidates (problems, λ, D), in the strategies' units
        self.strategies = [self._strategy(mean, spread, samples) for mean in means]

    def _strategy(self, mean: Any, spread: float, samples: int) -> Any:
        """A strategy in half widths from the centre."""
        try:
            import cma
        except ImportError:
            raise ValueError("CMAES: expected the package cma; pip install 'elites[cma]'") from None
        low, high = self._bounds
        bounds = [[end if np.isfinite(end) else None for end in ends.tolist()] for ends in (low, high)]
        options = {
            "bounds": bounds,
            "popsize": samples,
            "verbose": -9,
            "seed": np.nan,
            "randn": Normals(self.problem.draw.rng),
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the seed, which the generator has in its place
            return cma.CMAEvolutionStrategy(mean.clip(low, high).tolist(), spread, options)

    def _drawn(self) -> Candidates:
        space, start, count = self.problem.space, self.problem.start, self.samples[self.round]
        self.sent = np.stack([np.stack(strategy.ask(count)) for strategy in self.strategies])
        own = torch.from_numpy(self.sent * self.half + self.middle).to(space.centre)
        own = own.reshape(*self.problem.batch, count, *space.shape)
        if start and self.round == 0:
            own = torch.cat([own, start.best.unsqueeze(self.axis)], self.axis)
        return own, self.distribution.points(own, space)

    def _learn(self, own: Tensor, points: Tensor, values: Tensor) -> None:
        count, state = self.samples[self.round], self.state
        super()._learn(own, points, values)
        self.state = state  # the strategies have it
        told = (_array(own.narrow(self.axis, 0, count), len(self.strategies), count, -1) - self.middle) / self.unit
        self.sent = np.where(np.isclose(told, self.sent, atol=1e-5), self.sent, told.clip(*self._bounds))  # if moved
        scores = values[..., :count].reshape(-1, count).cpu().double()
        before = (_array(x, len(scores), -1) for x in state)
        told = map(self._told, self.strategies, self.sent, scores, *before)
        means, stds = map(np.stack, zip(*told, strict=True))
        self.state = Normal(*(torch.from_numpy(x).to(state[0]).reshape(state[0].shape) for x in (means, stds)))

    def _told(self, strategy: Any, drawn: Any, values: Tensor, mean: Any, std: Any) -> tuple[Any, Any]:
        """The mean and spread (D) after these values (λ). Values that are not finite count as the worst."""
        if not bool(teaches(values)):
            return mean, std
        finite = values[values.isfinite()]
        worst = finite.min() - (finite.max() - finite.min())
        costs = -torch.where(values.isfinite(), values, worst)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about points that the strategy added itself
            strategy.tell(list(drawn), costs.tolist(), check_points=False)
        spread = strategy.sigma * strategy.sigma_vec.scaling * np.sqrt(strategy.sm.variances)
        return strategy.result.xfavorite * self.half + self.middle, spread * self.half

    # --- to save and to go on ----------------------------------------------------------------------------------------

    def state_dict(self) -> Saved:
        """As of every search. The strategies are bytes, from which `Strategies` reads nothing else."""
        pickled = pickle.dumps([strategy.pickle_dumps() for strategy in self.strategies])
        sent = torch.from_numpy(self.sent)
        return super().state_dict() | {
            "sent": sent,
            "strategies": torch.frombuffer(bytearray(pickled), dtype=torch.uint8),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        super().load_state_dict(saved)
        self.sent = saved["sent"].numpy()
        self.strategies = [Strategies(one).load() for one in Strategies(bytes(saved["strategies"].numpy())).load()]
        for strategy in self.strategies:
            normals = Normals(self.problem.draw.rng)
            strategy.opts["randn"] = strategy.sm.randn = normals


class Strategies(pickle.Unpickler):
    """Reads classes of `cma` and arrays from bytes. Anything else in them is refused, so it does not run."""

    ARRAYS = ("dtype", "ndarray", "_reconstruct", "scalar", "eigh")
    FUNCTIONS = ("_pass", "is_feasible")

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        package, theirs = module.partition(".")[0], name in self.FUNCTIONS or isinstance(found, type)
        if found is Normals or (package == "cma" and theirs) or (package == "numpy" and name in self.ARRAYS):
            return found
        raise ValueError(f"CMAES: expected a strategy of cma, got {module}.{name}")


class Normals:
    """Standard normal numbers of the search's generator, in the form that `cma` asks for."""

    def __init__(self, rng: Generator | None = None) -> None:
        self.rng = rng

    def __call__(self, *shape: int) -> Any:
        assert self.rng is not None
        return torch.randn(*shape, generator=self.rng, dtype=torch.float64, device=self.rng.device).cpu().numpy()

    def __reduce__(self) -> tuple[type[Normals], tuple[()]]:
        """A pickled strategy leaves the generator out. The search that loads it gives its own."""
        return Normals, ()


def _array(x: Tensor, *shape: int) -> Any:
    return x.detach().cpu().double().numpy().reshape(shape)
