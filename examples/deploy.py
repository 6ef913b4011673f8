"""Takes the trained policy out of a run of examples/cgp.py, for a machine that has no part of this library.

    python examples/deploy.py outputs/HalfCheetah-v5-cgp-0

writes policy.pt2 (torch.export) and, where elites[onnx] is installed, policy.onnx into the run's folder. A fresh
process without this library then loads them and acts on observations of the replay buffer; its actions must be the
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
