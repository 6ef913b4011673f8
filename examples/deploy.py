"""Exports the trained policy of a run of examples/cgp.py, for a machine without this library.

    python examples/deploy.py outputs/HalfCheetah-v5-cgp-0

Writes policy.pt2 (torch.export) into the run's folder, and policy.onnx if elites[onnx] is installed. A fresh process
then loads the files without this library and acts on observations of the replay buffer. Its actions must match the
agent's. `elites deploy` is the same command.
"""

from elites import cli
from elites.runs.commands.deploy import flags, tell
from elites.runs.deploy import compared, exported, with_policy


def main() -> None:
    args = flags(__doc__).parse_args()
    agent = with_policy(args.run)
    files = exported(agent, args.run)
    tell(args, files, compared(agent, files, args.steps))


if __name__ == "__main__":
    cli.run(main)
