"""Learns a Q-function and a policy without a model: with CGP, or with an agent to compare it with.

    python examples/cgp.py --env Pendulum-v1
    python examples/cgp.py --env HalfCheetah-v5 --agent td3 --set steps=200000
    python examples/cgp.py --env Hopper-v5 --agent qgp --mode offline --num-envs 4
    python examples/cgp.py --resume outputs/Pendulum-v1-cgp-0

Works with any Gymnasium environment that has vector observations and bounded actions. The results are in the run's
folder. `python examples/deploy.py RUN` exports the policy. `elites learn` is the same command.
"""

from elites import cli
from elites.runs import train
from elites.runs.commands.learn import asked


def main() -> None:
    with asked(__doc__) as run:  # run.settings is a LearnSettings: a file of configs/learn/, then the flags
        summary = train(
            run.settings,  # the agent, steps, evaluations, …
            run.folder,  # the folder for metrics, checkpoints and pictures
            resume=run.resume,  # whether to continue the run in the folder
            observers=run.observers,  # the screen, and pictures at the end
            stop=run.stop,  # Ctrl-C
            device=run.device,
        )
        run.tell(summary)


if __name__ == "__main__":
    cli.run(main)
