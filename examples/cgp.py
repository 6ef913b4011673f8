"""Learning without a model: the cross-entropy method over a Q-function, and the agents it is measured against.

    python examples/cgp.py --env Pendulum-v1
    python examples/cgp.py --env HalfCheetah-v5 --agent td3 --set steps=200000
    python examples/cgp.py --env Hopper-v5 --agent qgp --mode offline --num-envs 4
    python examples/cgp.py --resume outputs/Pendulum-v1-cgp-0

Any Gymnasium environment with vectors for observations and bounded actions will do. What comes out is in the run's
folder; `python examples/deploy.py RUN` takes the policy out. `elites learn` is the same command.
"""

from elites import cli
from elites.runs import train
from elites.runs.commands.learn import asked


def main() -> None:
    with asked(__doc__) as run:  # run.settings is a LearnSettings: a file of configs/cgp/, then the flags
        summary = train(
            run.settings,  # what is run: the agent, steps, evaluations, …
            run.folder,  # where it leaves its metrics, checkpoints and pictures
            resume=run.resume,  # whether it goes on with what the folder holds
            observers=run.observers,  # who watches: the screen, pictures at the end
            stop=run.stop,  # Ctrl-C
            device=run.device,
        )
        run.tell(summary)


if __name__ == "__main__":
    cli.run(main)
