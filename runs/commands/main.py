"""The command `elites`: finds the subcommand and runs it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import elites
from elites import cli
from elites.runs.commands.flags import nearest

COMMANDS = {  # each is a module of this folder, with main(arguments, program)
    "pets": "learn a model of an environment, and plan through it",
    "learn": "learn a Q-function and a policy, without a model",
    "search": "search the weights of a policy, with a planner",
    "play": "play episodes with what a run has learned, and film them",
    "report": "compare runs in one HTML page",
    "deploy": "export the policy of a run as files that work without elites",
    "export": "write the replay of a run as a Minari dataset",
    "bench": "measure one plan's time and memory, here and in other libraries",
}
HELP = f"""usage: elites COMMAND [FLAG …]

Model-based planning and model-free learning over one search core.

commands:
{chr(10).join(f"  {name:<8}{text}" for name, text in COMMANDS.items())}

  elites pets --planner cem_gd               # learns the cart-pole swing-up from nothing
  elites learn --env Pendulum-v1 --agent td3
  elites search --env Swimmer-v5 --planner cem
  elites play outputs/Pendulum-v1-td3-0 --video
  elites report                              # all runs below outputs/

`elites COMMAND --help` lists the flags of a command. For pets, learn and search it also lists every setting:
`elites pets --planner mppi --help`. `elites --version` prints the release and the engine.
"""


def main() -> None:
    """The entry point of the package."""
    command, *arguments = sys.argv[1:] or ["--help"]
    program = f"elites {command}" if command in COMMANDS else "elites"
    cli.run(lambda: dispatch(command, arguments, program), program)


def version() -> str:
    """`elites 0.1.0 (kernel avx2)`, or without a kernel `elites 0.1.0 (torch)`."""
    from elites.networks import library  # imports torch, which --help does not need

    return f"elites {elites.__version__} ({library.engine()})"


def dispatch(command: str, arguments: Sequence[str], program: str) -> None:
    if command in ("-h", "--help", "help"):
        print(HELP, end="")
    elif command in ("-V", "--version"):
        print(version())
    elif command in COMMANDS:
        importlib.import_module(f"elites.runs.commands.{command}").main(arguments, program)
    else:
        raise ValueError(f"unknown command {command!r}; {nearest(command, COMMANDS)}")
