"""PETS from end to end: collect at random, fit a probabilistic ensemble, plan through it, act, and again.

    python examples/pets.py --planner cem_gd
    python examples/pets.py --env elites/HalfCheetah-v0 --planner icem --set episodes=20
    python examples/pets.py --env Pendulum-v1 --planner cem --out outputs/pendulum
    python examples/pets.py --resume outputs/pendulum

Any Gymnasium environment with vectors for observations and actions will do; where its reward is not known to
`elites.envs`, the model learns it too. What comes out is in the run's folder; `python examples/report.py RUN…` puts
runs side by side. `elites pets` is the same command.
"""

from elites import cli
from elites.runs import train
from elites.runs.commands.pets import asked


def main() -> None:
    with asked(__doc__) as run:  # run.settings is a PETSSettings: a file of configs/pets/, then the flags
        summary = train(
            run.settings,  # what is run: planner, horizon, model, training, episodes, …
            run.folder,  # where it leaves its metrics, checkpoints and pictures
            resume=run.resume,  # whether it goes on with what the folder holds
            observers=run.observers,  # who watches: the screen, pictures at the end
            stop=run.stop,  # Ctrl-C
            device=run.device,
        )
        run.tell(summary)


if __name__ == "__main__":
    cli.run(main)
