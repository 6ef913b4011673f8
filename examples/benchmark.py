"""How long one plan takes and what memory it needs: every planner here, other libraries, and the machine's own limit.

    make bench
    python examples/benchmark.py --planner cem cem_gd --size 4,1 --by torch mbrl-lib --rounds 5
    python examples/benchmark.py --reference torch --noise independent common --json > benchmark.json

All plan through one model, for one reward, from the same observations: 5 members of 3 × 200 with SiLU, 45 steps, 20
particles, float32. Each has a process of its own; they plan one at a time, in turn, so that a noisy machine hits all
alike. What the columns mean: docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile, record_function

from elites import Box, cli, config
from elites.agents import MPC
from elites.dynamics import Architecture, ProbabilisticEnsemble, Return, native
from elites.fields import Count, validate
from elites.planners import PLANNERS, Planner

# --- what is planned: the same for all --------------------------------------------------------------------------------

SIZES = ["4,1", "18,6", "20,7", "45,17"]  # the cart-pole, HalfCheetah, the Pusher, HumanoidStandup
WARM_UP = 3  # plans before the rounds: two whose memory is measured, and one that is not watched

State = dict[str, Tensor]  # the weights of a ProbabilisticEnsemble


@dataclass(frozen=True)
class Setting:
    """Of one table. observation, action: their sizes, S and A."""

    observation: Count
    action: Count
    members: Count = 5
    particles: Count = 20
    horizon: Count = 45
    rounds: Count = 15
    threads: Count = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        validate(self)


def given(setting: Setting) -> tuple[State, Tensor]:
    """Weights, with the little noise of a trained model, and a slow walk of observations (WARM_UP + rounds, S)."""
    rng, size = Generator().manual_seed(0), setting.observation
    model = ProbabilisticEnsemble(size, setting.action, Architecture(setting.members), rng=rng)
    model.biases[-1].data[..., size:] = -6.0  # a spread of 0.05
    walk = 0.02 * torch.randn(WARM_UP + setting.rounds, size, generator=rng).cumsum(0)
    return model.state_dict(), walk + 0.5 * torch.randn(size, generator=rng)


def reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    """Rows -> (R,)."""
    return -next_state.square().sum(1) - 0.01 * action.square().sum(1)


# --- who plans it -----------------------------------------------------------------------------------------------------

Work = Counter[tuple[int, bool]]  # the rollouts of a plan: (rows, with a gradient?) -> how often
Planning = Callable[[Tensor], Work]  # from an observation (S), warm from the plan before

PLANS: dict[str, tuple[int, dict[str, Any]]] = {  # candidates of the CEM that it is compared with, and our planner
    "cem 50": (50, {"name": "cem", "samples": 10, "iterations": 5, "elites": 1}),
    "cem_gd": (50, {"name": "cem_gd"}),  # N_r = 50; N_init is spent before the clock runs
    "cem 500": (500, {"name": "cem", "samples": 100, "iterations": 5, "elites": 10}),
    **{name: (500, {"name": name}) for name in PLANNERS if name not in ("cem", "cem_gd")},
    "cem_gd cold": (500, {"name": "cem_gd", "cold": {"samples": 3000, "iterations": 5, "elites": 300}}),
}
VARIANTS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {  # of ours: environment, and entries of the Architecture
    "torch": ({"ELITES_NATIVE": "0"}, {}),
    "kernel": ({"ELITES_NATIVE": "1"}, {}),
    "kernel-bfloat16": ({"ELITES_NATIVE": "1"}, {"sampling": "bfloat16"}),
}


class Contender(NamedTuple):
    planner: str  # of PLANS
    by: str  # of VARIANTS or PEERS
    noise: str = "independent"  # for every candidate, or `common` to all


def ensemble(setting: Setting, state: State, **architecture: Any) -> ProbabilisticEnsemble:
    known = config.build(Architecture, {"members": setting.members, **architecture}, "architecture")
    model = ProbabilisticEnsemble(setting.observation, setting.action, known, rng=Generator(setting.device))
    model.load_state_dict(state)
    return model.requires_grad_(False)


def ours(contender: Contender, setting: Setting, state: State) -> Planning:
    work, model = Work(), ensemble(setting, state, **VARIANTS[contender.by][1])
    particles = math.ceil(setting.particles / setting.members) * setting.members  # as the ensemble deals them

    class Counted(Return):
        def at(self, state: Tensor, rng: Generator) -> Callable[[Tensor], Tensor]:
            objective = super().at(state, rng)

            def counted(actions: Tensor) -> Tensor:
                work[actions.shape[:-2].numel() * particles, actions.requires_grad] += 1
                return objective(actions)

            return counted

    planner = config.build(Planner, PLANS[contender.planner][1], contender.planner)  # type: ignore[type-abstract]
    returns = Counted(model, reward, particles=setting.particles, noise=contender.noise)  # type: ignore[arg-type]
    one = torch.ones(setting.action)
    mpc = MPC(planner, setting.horizon, returns=returns, box=Box(-one, one), seed=0, device=setting.device)

    def plan(observation: Tensor) -> Work:
        work.clear()
        if contender.planner == "cem_gd cold":
            mpc.reset()
        mpc(observation)
        if (model.backend == "torch") != (contender.by == "torch"):
            raise RuntimeError(f"expected the plan of {contender.by}, got {model.backend}'s")
        return work

    return plan


def population(contender: Contender) -> tuple[int, int]:
    """Samples and elites of each of five iterations; mbrl-lib and torchrl find a spread of NaN in a single elite."""
    return {"cem 50": (10, 2), "cem 500": (100, 10)}[contender.planner]


def mbrl_model(setting: Setting, state: State) -> Any:
    """mbrl-lib's own ensemble with these weights, in its ModelEnv."""
    from mbrl.env.termination_fns import no_termination
    from mbrl.models import GaussianMLP, ModelEnv, OneDTransitionRewardModel

    size, action, rng = setting.observation, setting.action, Generator(setting.device).manual_seed(0)
    options = {"num_layers": 3, "ensemble_size": setting.members, "activation_fn_cfg": {"_target_": "torch.nn.SiLU"}}
    net = GaussianMLP(size + action, size, setting.device, propagation_method="fixed_model", **options)  # TS∞
    for i, layer in enumerate([*(layer[0] for layer in net.hidden_layers), net.mean_and_logvar]):
        layer.weight.data.copy_(state[f"weights.{i}"])
        layer.bias.data.copy_(state[f"biases.{i}"])
    net.min_logvar.data.copy_(state["min_log_var"][0])  # which its members share
    net.max_logvar.data.copy_(state["max_log_var"][0])

    def rewarded(action: Tensor, next_state: Tensor) -> Tensor:
        return reward(next_state, action, next_state).unsqueeze(1)

    spaces = argparse.Namespace(observation_space=None, action_space=None)
    return ModelEnv(spaces, OneDTransitionRewardModel(net, learned_rewards=False), no_termination, rewarded, rng)


def mbrl_lib(contender: Contender, setting: Setting, state: State) -> Planning:
    """Its TrajectoryOptimizerAgent with its CEMOptimizer."""
    from mbrl.planning import TrajectoryOptimizerAgent
    from omegaconf import OmegaConf

    model, (samples, elites) = mbrl_model(setting, state), population(contender)
    optimizer: dict[str, Any] = {"_target_": "mbrl.planning.CEMOptimizer", "device": setting.device}
    optimizer |= {"num_iterations": 5, "population_size": samples, "elite_ratio": elites / samples, "alpha": 0.1}
    low, high = [-1.0] * setting.action, [1.0] * setting.action
    agent = TrajectoryOptimizerAgent(OmegaConf.create(optimizer), low, high, setting.horizon)
    agent.set_trajectory_eval_fn(
        lambda observation, actions: model.evaluate_action_sequences(actions, observation, setting.particles)
    )

    def plan(observation: Tensor) -> Work:
        agent.act(observation.cpu().numpy())
        return Work({(samples * setting.particles, False): 5})

    return plan


def through(x: Tensor, layers: Sequence[tuple[Tensor, Tensor]], activation: Callable[[Tensor], Tensor]) -> Tensor:
    """(M, R, in) -> (M, R, out), through networks of (M, in, out) and (M, 1, out)."""
    for weight, bias in layers[:-1]:
        x = activation(torch.baddbmm(bias, x, weight))
    return torch.baddbmm(layers[-1][1], x, layers[-1][0])


def stepping(setting: Setting, state: State) -> Callable[[Tensor, Tensor], Tensor]:
    """What one writes around a library without a model: (P · N, S), (P · N, A) -> next states drawn, TS∞."""
    model = ensemble(setting, state)
    layers, low, high = model.layers(), model.min_log_var, model.max_log_var  # its normalizer is the identity

    def step(observation: Tensor, action: Tensor) -> Tensor:
        inputs = torch.cat([observation, action], -1).reshape(setting.members, -1, setting.observation + setting.action)
        change, raw = through(inputs, layers, lambda x: functional.silu(x, inplace=True)).chunk(2, -1)
        std = (low.exp() + high.exp() * torch.sigmoid(raw - high)).sqrt()
        return observation + (change + std * torch.randn_like(std)).reshape(observation.shape)

    return step


def torchrl(contender: Contender, setting: Setting, state: State) -> Planning:
    """Its CEMPlanner, always from mean 0 and spread 1; all particles of a candidate are one observation (P, S)."""
    from tensordict import TensorDict  # type: ignore[import-not-found]
    from tensordict.nn import TensorDictModule  # type: ignore[import-not-found]
    from torchrl.data import Bounded, Composite, Unbounded  # type: ignore[import-not-found]
    from torchrl.envs.model_based import ModelBasedEnvBase  # type: ignore[import-not-found]
    from torchrl.modules.planners import CEMPlanner  # type: ignore[import-not-found]

    step, particles, device = stepping(setting, state), setting.particles, setting.device
    samples, elites = population(contender)

    def world(observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """(N, P, S), (N, A) -> (N, P, S) and rewards (N, 1)."""
        before, actions = observation.transpose(0, 1).flatten(0, 1), action.repeat(particles, 1)
        after = step(before, actions)
        rewards = reward(before, actions, after).reshape(particles, -1, 1)
        return after.reshape(particles, len(action), -1).transpose(0, 1), rewards.mean(0)

    class Imagined(ModelBasedEnvBase):  # type: ignore[misc]
        def __init__(self) -> None:
            model = TensorDictModule(world, ["observation", "action"], ["observation", "reward"])
            super().__init__(model, device=device)
            seen = Unbounded((particles, setting.observation), device=device)
            self.observation_spec = Composite(observation=seen, device=device)
            self.state_spec = Composite(observation=seen, device=device)
            self.action_spec = Bounded(-1, 1, (setting.action,), device=device)
            self.reward_spec = Unbounded((1,), device=device)

        def _reset(self, tensordict: Any, **_: Any) -> Any:
            return tensordict

    planner = CEMPlanner(Imagined(), setting.horizon, optim_steps=5, num_candidates=samples, top_k=elites)

    def plan(observation: Tensor) -> Work:
        with torch.no_grad():
            planner(TensorDict({"observation": observation.expand(particles, -1)}, [], device=device))
        return Work({(samples * particles, False): 5})

    return plan


def pytorch_mppi(contender: Contender, setting: Setting, state: State) -> Planning:
    """Its MPPI: 500 samples at once, where ours has 5 × 100. It keeps the states of every particle."""
    from pytorch_mppi import MPPI  # type: ignore[import-not-found]

    def cost(next_state: Tensor, action: Tensor) -> Tensor:
        return -reward(next_state, action, next_state)

    one, step = torch.ones(setting.action, device=setting.device), stepping(setting, state)
    options: dict[str, Any] = {"num_samples": 500, "horizon": setting.horizon, "rollout_samples": setting.particles}
    options |= {"u_min": -one, "u_max": one, "device": setting.device}
    controller = MPPI(step, cost, setting.observation, 0.25 * torch.diag(one), **options)

    def plan(observation: Tensor) -> Work:
        with torch.no_grad():
            controller.command(observation)
        return Work({(500 * setting.particles, False): 1})

    return plan


class Peer(NamedTuple):
    package: str
    contend: Callable[[Contender, Setting, State], Planning]
    plans: list[str]


PEERS = {
    "mbrl-lib": Peer("mbrl", mbrl_lib, ["cem 50", "cem 500"]),
    "torchrl": Peer("torchrl", torchrl, ["cem 50", "cem 500"]),
    "pytorch-mppi": Peer("pytorch-mppi", pytorch_mppi, ["mppi"]),
}
EVERYONE = [*PEERS, *VARIANTS]


def absent(by: str, device: str) -> str | None:
    """Why one cannot take part, where it cannot."""
    if by in PEERS:
        installed = importlib.util.find_spec(PEERS[by].package.replace("-", "_"))
        return None if installed else "not installed, which `make bench` does"
    if by == "torch" or (device == "cpu" and native.kernels()):
        return None
    return "the compiled rollout was not built" if device == "cpu" else "the compiled rollout is for CPUs"


# --- what is measured -------------------------------------------------------------------------------------------------

T = TypeVar("T")


def memory(make: Callable[[], T], use: Callable[[T], object], device: str) -> tuple[T, int, int]:
    """What was made, the bytes it holds between plans, and how far a plan goes above them, by the allocator's account.

    Held is what was allocated since before `make` and not freed by the end of a first `use`; the peak is of a second.
    """
    if torch.device(device).type == "cuda":
        before = torch.cuda.memory_allocated(device)
        made = make()
        use(made)
        held = torch.cuda.memory_allocated(device) - before
        torch.cuda.reset_peak_memory_stats(device)
        use(made)
        return made, held, torch.cuda.max_memory_allocated(device) - before - held
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        made = make()
        use(made)
        gc.collect()
        with record_function("second use"):
            use(made)
    live = held = peak = 0
    events: Any = profiler.profiler and profiler.profiler.kineto_results
    for event in sorted(events.events(), key=lambda event: event.start_ns()):
        if event.name() == "second use":
            held = peak = live
        elif event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return made, held, peak - held


def now(device: str) -> float:
    """The time, once the device has done what it was asked for."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Floor:
    """A plan's matrix products and nothing else: what is left when all around them costs nothing."""

    def __init__(self, setting: Setting, state: State) -> None:
        self.setting, self.layers = setting, ensemble(setting, state).layers()

    def operations(self, work: Work) -> int:
        """2 · rows · Σ in · out for each model step; the way back to the inputs has as many again."""
        each = 2 * sum(weight.shape[1] * weight.shape[2] for weight, _ in self.layers)
        steps = sum(count * rows * (1 + gradient) for (rows, gradient), count in work.items())
        return each * self.setting.horizon * steps

    def seconds(self, work: Work) -> float:
        """At the rate at which the machine now does products of these shapes."""
        step = {rows: self.step(rows) for rows, _ in work}
        return self.setting.horizon * sum(step[rows] * (1 + gradient) * n for (rows, gradient), n in work.items())

    def step(self, rows: int) -> float:
        """The seconds of one model step's products: (M, rows / M, in) × (M, in, out) for each layer."""
        weight, _ = self.layers[0]
        x = torch.randn(len(weight), rows // len(weight), weight.shape[1], device=weight.device)
        through(x, self.layers, lambda x: x)
        repeats = max(3, 4000 // rows)
        began = now(self.setting.device)
        for _ in range(repeats):
            through(x, self.layers, lambda x: x)
        return (now(self.setting.device) - began) / repeats


def paired(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the ratios of two series, round by round."""
    return float(np.median([a / b for a, b in zip(numerators, denominators, strict=True)]))


# --- one contender, in a process of its own ---------------------------------------------------------------------------


def serve(contender: Contender, setting: Setting, folder: Path) -> None:
    """A line in is its turn, a line of JSON out the answer: its memory at first, and then the next plan each time."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    torch.set_num_threads(setting.threads)
    torch.manual_seed(0)  # for those that draw from the global generator
    state = load_file(folder / "model.safetensors", setting.device)
    observations, floor = iter(state.pop("observations")), Floor(setting, state)
    contend = PEERS[contender.by].contend if contender.by in PEERS else ours

    if not sys.stdin.readline():  # whoever asks has gone
        return
    plan, held, peak = memory(
        lambda: contend(contender, setting, state), lambda plan: plan(next(observations)), setting.device
    )
    floor.seconds(plan(next(observations)))
    print(json.dumps({"held": held, "peak": peak}), file=answers, flush=True)
    for observation, _ in zip(observations, sys.stdin, strict=False):
        began = now(setting.device)
        work = plan(observation)
        answer = {"seconds": now(setting.device) - began, "floor": floor.seconds(work)}
        answer |= {"operations": floor.operations(work), "rows": sum(rows * n for (rows, _), n in work.items())}
        print(json.dumps(answer), file=answers, flush=True)


class Died(Exception):
    pass


class Worker:
    """That process, seen from here."""

    def __init__(self, contender: Contender, setting: Setting, folder: Path) -> None:
        self.contender, self.log = contender, folder / f"{' '.join(contender)}.log"
        order = json.dumps([contender, asdict(setting), str(folder)])
        environment, _ = VARIANTS.get(contender.by, VARIANTS["torch"])
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), "--worker", order],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | environment | {"OMP_NUM_THREADS": str(setting.threads), "KINETO_LOG_LEVEL": "99"},
                start_new_session=True,  # Ctrl-C is for us
            )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate()

    def turn(self) -> dict[str, float]:
        assert self.process.stdin
        assert self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            print(file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            *_, why = ["no word of why", *re.findall(r"^\S.*", self.log.read_text(), re.MULTILINE)]
            raise Died(f"{', '.join(self.contender)}: ended with exit code {self.process.wait()}: {why}")
        return cast(dict[str, float], json.loads(answer))


# --- all of them, in turn ---------------------------------------------------------------------------------------------

Answers = dict[str, list[float]]  # of one contender: an entry for every round; one alone of what it holds, and its peak


def in_turn(contenders: Sequence[Contender], setting: Setting, screen: cli.Screen) -> dict[Contender, Answers]:
    """One plan of each in every round, in an order of its own; one that dies is left out, with a line."""
    state, observations = given(setting)
    found: dict[Contender, Answers] = {one: {} for one in contenders}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        save_file({**state, "observations": observations}, Path(name) / "model.safetensors")
        workers = {one: stack.enter_context(Worker(one, setting, Path(name))) for one in contenders}
        for number in range(1 + setting.rounds):  # the first is of making and memory
            for one in random.Random(number).sample(list(found), len(found)):
                where = f"{setting.observation},{setting.action}: round {number} of {setting.rounds}"
                screen.status(f"{where}  {', '.join(one)}")
                try:
                    answer = workers[one].turn()
                except Died as died:
                    screen.warn(f"benchmark: {died}")
                    del found[one]
                    continue
                for key, value in answer.items():
                    found[one].setdefault(key, []).append(value)
                time.sleep(0.02)  # so long its threads may look out for more to do, on a core each
    return found


def reference_of(one: Contender, by: str, found: dict[Contender, Answers]) -> Answers | None:
    """The same plan by whom we compare with; where it has none, its CEM of as many candidates."""
    for same in (one._replace(by=by), Contender(one.planner, by), Contender(f"cem {PLANS[one.planner][0]}", by)):
        if same in found:
            return found[same]
    return None


def rows_of(found: dict[Contender, Answers], setting: Setting, by: str) -> list[dict[str, Any]]:
    rows = []
    for one, answers in found.items():
        reference = reference_of(one, by, found)
        low, middle, high = (float(q) for q in 1e3 * np.quantile(answers["seconds"], [0.25, 0.5, 0.75]))
        row: dict[str, Any] = {"size": [setting.observation, setting.action], **one._asdict()}
        row["rollouts"] = float(np.median(answers["rows"])) / setting.particles
        row |= {"plan_ms_q1": low, "plan_ms_median": middle, "plan_ms_q3": high}
        row["speed_by_reference"] = reference and paired(reference["seconds"], answers["seconds"])
        row["time_by_floor"] = paired(answers["seconds"], answers["floor"])
        row["gflop"] = float(np.median(answers["operations"])) / 1e9
        row["floor_gflop_per_s"] = paired(answers["operations"], answers["floor"]) / 1e9
        row |= {f"{key}_mb": max(answers[key]) / 1e6 for key in ("held", "peak")}
        rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]], reference: str, markdown: bool) -> str:
    speed = f"speed / {reference}"
    lines = [["planner", "by", "noise", "rollouts", "plan, ms", "quartiles", speed, "time / floor", "memory, MB"]]
    for row in rows:
        digits = 0 if row["plan_ms_median"] >= 100 else 1
        low, middle, high = (f"{row[f'plan_ms_{name}']:.{digits}f}" for name in ("q1", "median", "q3"))
        ratio = "" if row["speed_by_reference"] is None else f"{row['speed_by_reference']:.2f}"
        line = [row["planner"], row["by"], row["noise"], f"{row['rollouts']:.0f}", middle, f"{low} – {high}", ratio]
        lines.append([*line, f"{row['time_by_floor']:.1f}", f"{row['held_mb']:.1f} + {row['peak_mb']:.1f}"])
    if markdown:
        lines.insert(1, ["---"] * 3 + ["---:"] * 6)
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([f"{x:{side}{w}}" for x, side, w in zip(line, "<<<>>>>>>", widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line) for line in padded)


# --- the command line -------------------------------------------------------------------------------------------------


def machine(device: str) -> dict[str, Any]:
    """What the figures are of: the processor, and the versions."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name, flags = (re.search(rf"^{key}\s*: (.*)$", about, re.MULTILINE) for key in ("model name", "flags"))
    wide = [flag for flag in (flags[1].split() if flags else []) if flag.startswith(("avx", "fma", "amx"))]
    found = {"cpu": name[1] if name else platform.processor(), "cores": os.cpu_count(), "flags": wide}
    found |= {} if device == "cpu" else {"gpu": torch.cuda.get_device_name(device)}
    installed = ["torch", *(peer.package for by, peer in PEERS.items() if not absent(by, device))]
    return (
        found | {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in installed}
    )


def settings_of(args: argparse.Namespace) -> list[Setting]:
    """One for each size; what is wrong with the arguments is said before anything is run."""
    known = {"planner": list(PLANNERS), "by": EVERYONE, "noise": ["independent", "common"], "reference": EVERYONE}
    for name, choices in known.items():
        for text in np.atleast_1d(getattr(args, name)).tolist():
            if text not in choices:
                raise ValueError(f"--{name}: expected {', '.join(choices[:-1])} or {choices[-1]}, got {text!r}")
    for text in args.size:
        if not re.fullmatch(r"\d+,\d+", text):
            raise ValueError(f"--size: expected two numbers such as 4,1, got {text!r}")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", args.device) or (args.device != "cpu" and not torch.cuda.is_available()):
        raise ValueError(f"--device: expected cpu, or cuda where there is one, got {args.device!r}")
    if args.out:
        args.out.touch()
    sizes = [[int(number) for number in text.split(",")] for text in args.size]
    same = {key: getattr(args, key) for key in ("members", "particles", "horizon", "rounds", "threads", "device")}
    return [Setting(observation, action, **same) for observation, action in sizes]


def contenders_of(args: argparse.Namespace, present: Sequence[str]) -> list[Contender]:
    """Ours with every plan asked for; of other libraries what is compared with them."""
    asked = [name for name in PLANS if name.split()[0] in args.planner and (args.cold or name != "cem_gd cold")]
    budgets, found = {PLANS[name][0] for name in asked}, []
    for name, (budget, _) in PLANS.items():
        for by in present:
            if by in VARIANTS and name in asked:
                found += [Contender(name, by, noise) for noise in args.noise]
            elif by in PEERS and name in PEERS[by].plans and budget in budgets:
                found.append(Contender(name, by))
    return found


def together(plan: str, contenders: Sequence[Contender], reference: str) -> list[Contender]:
    """Who takes turns: all that have this plan, and whom they are compared with."""
    found, cem = [one for one in contenders if one.planner == plan], Contender(f"cem {PLANS[plan][0]}", reference)
    return found if cem not in contenders or reference in [one.by for one in found] else [*found, cem]


def compare(args: argparse.Namespace) -> None:
    settings, screen = settings_of(args), cli.Screen(quiet=args.quiet)
    left_out = {by: why for by in args.by if (why := absent(by, args.device))}
    for by, why in left_out.items():
        screen.line(f"benchmark: {by} is left out: {why}")
    contenders = contenders_of(args, [by for by in args.by if by not in left_out])
    rows: list[dict[str, Any]] = []
    for setting in settings:
        part: list[dict[str, Any]] = []
        alive = contenders
        for plan in dict.fromkeys(one.planner for one in contenders):
            group = together(plan, alive, args.reference)
            found = in_turn(group, setting, screen)
            alive = [one for one in alive if one in found or one not in group]
            part += [row for row in rows_of(found, setting, args.reference) if row["planner"] == plan]
        rows += part
        if not args.json:
            title = f"{'### ' * args.markdown}{setting.observation} observations, {setting.action} actions"
            print(f"{title}\n\n{table(part, args.reference, args.markdown)}\n", flush=True)
    document: dict[str, Any] = {"command": shlex.join(["python", "examples/benchmark.py", *sys.argv[1:]]), "rows": rows}
    document |= {"machine": machine(args.device), "left_out": left_out, "reference": args.reference}
    document["settings"] = {
        key: value for key, value in asdict(settings[0]).items() if key not in ("observation", "action")
    }
    if args.out:
        args.out.write_text(json.dumps(document, indent=1) + "\n")
    if args.json:
        print(json.dumps(document))
    if len(rows) < len(contenders) * len(settings):
        sys.exit(1)  # some died


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planner", nargs="+", default=list(PLANNERS), metavar="NAME", help="ours: cem, cem_gd, …")
    parser.add_argument("--size", nargs="+", default=SIZES, metavar="S,A", help="of observations and actions")
    parser.add_argument("--by", nargs="+", default=EVERYONE, metavar="NAME", help=", ".join(EVERYONE))
    parser.add_argument("--noise", nargs="+", default=["independent"], metavar="KIND", help="of ours; common, too")
    parser.add_argument("--reference", default="mbrl-lib", metavar="NAME", help="of --by: whom to compare with")
    parser.add_argument("--cold", action="store_true", help="CEM-GD's first plan of 5 × 3000 too, which is long")
    for name in ("members", "particles", "horizon", "rounds"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Setting, name))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--markdown", action="store_true", help="the tables as the docs have them")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the JSON document, beside the tables")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        contender, setting, folder = json.loads(args.worker)
        serve(Contender(*contender), Setting(**setting), Path(folder))
    else:
        compare(args)


if __name__ == "__main__":
    cli.run(main)
