"""`elites play`: plays episodes with the agent of a run, and films the best one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elites import cli
from elites.agents.lockstep import Lockstep, Played, play
from elites.runs import kinds
from elites.runs.commands.flags import Parser, count, run_flag
from elites.runs.commands.training import device_of
from elites.runs.film import film
from elites.runs.load import load
from elites.runs.mujoco_log import mujoco_log
from elites.runs.play import seeds_of, stage
from elites.runs.progress import Best

FILM = "play.mp4"  # in the run's folder
DESCRIPTION = f"""Plays episodes with what a run has learned so far. Prints a line for each episode, and their mean.

  elites play outputs/Pendulum-v1-td3-0
  elites play outputs/CartpoleSwingup-v0-cem_gd-0 --episodes 1 --video

The episodes start as the run's evaluations do, so they are the same every time. --seed plays others. All episodes are
played at once. --video films the best one to RUN/{FILM}, or to the file that it names."""


def flags(description: str | None = DESCRIPTION, program: str | None = None) -> Parser:
    parser = Parser(description, program)
    run_flag(parser)
    parser.add_argument("--episodes", type=count, default=5, metavar="N", help="number of episodes (default: 5)")
    parser.add_argument("--seed", type=int, metavar="N", help="play other episodes than the evaluations'")
    parser.add_argument("--env", metavar="ID", help="another environment with the same spaces")
    parser.add_argument("--video", nargs="?", type=Path, const=True, metavar="FILE.mp4", help="film the best episode")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, …")
    parser.add_argument("--json", action="store_true", help="print one line of JSON, and no progress")
    return parser


def main(arguments: Sequence[str], program: str) -> None:
    args = flags(program=program).parse_args(arguments)
    screen = cli.Screen(quiet=args.json)
    with mujoco_log(screen.warn):
        tell(args, *played_by(args, screen))


def played_by(args: argparse.Namespace, screen: cli.Screen) -> tuple[str, Played, Path | None]:
    """The environment, the episodes played, and the film's path if there is a film."""
    settings = kinds.settings_of(args.run)
    agent = load(args.run, screen.warn, device_of(args.device))
    envs, seeds = stage(settings, args.episodes, args.env), seeds_of(args.seed, args.episodes)

    def watch(step: int, observation: Any, reward: Any, under_way: Any) -> bool:
        screen.status(f"step {step}  {under_way.sum()} episodes under way")
        return True

    agent.begin(np.ones(args.episodes, dtype=bool))
    played = play(lambda observation: agent.act(observation, explore=False), Lockstep(envs), seeds, watch)
    assert played
    filmed = filming(args, envs, seeds, played, screen) if args.video else None
    screen.status("")
    envs.close()
    return args.env or settings.env, played, filmed


def tell(args: argparse.Namespace, env: str, played: Played, filmed: Path | None) -> None:
    """Prints a line for each episode and the mean, or one line of JSON."""
    returns, lengths = played.returns, played.lengths
    mean, std = float(returns.mean()), float(returns.std())
    if args.json:
        row = {"env": env, "returns": returns.tolist(), "lengths": lengths.tolist(), "mean": mean, "std": std}
        print(json.dumps(row | {"video": filmed and str(filmed)}))
        return
    for number, (total, length) in enumerate(zip(returns, lengths, strict=True), start=1):
        print(f"episode {number:3d}/{args.episodes}  {length:5d} steps  return {total:9.2f}")
    print(f"mean {mean:.2f} ± {std:.2f}" + (f"; the best episode is in {filmed}" if filmed else ""))


def filming(
    args: argparse.Namespace, envs: Any, seeds: Sequence[int], played: Played, screen: cli.Screen
) -> Path | None:
    """The film's path; None, with a warning, if filming fails."""
    i = int(played.returns.argmax())
    best = Best(float(played.returns[i]), seeds[i], played.actions_of(i))
    path: Path = args.run / FILM if args.video is True else args.video
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        film(best, envs.envs[0].spec, path, screen.status)
    except Exception as error:  # OpenGL and ffmpeg raise errors of many kinds
        reason = str(error).strip().splitlines() or [type(error).__name__]
        screen.warn(f"no video: filming failed: {reason[0]}")
        return None
    return path
