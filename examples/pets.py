"""PETS from end to end: collect at random, fit a probabilistic ensemble, plan through it, act, repeat.

    python examples/pets.py --planner cem_gd
    python examples/pets.py --env elites/HalfCheetah-v0 --planner icem --set episodes=20
    python examples/pets.py --env Pendulum-v1 --planner cem --out outputs/pendulum
    python examples/pets.py --resume outputs/pendulum

Works with any Gymnasium environment that has vector observations and vector actions. If `elites.envs` does not know
the reward, the model learns it too. The results are in the run's folder. `python examples/report.py RUN…` compares
runs. `elites pets` is the same command.
"""

from elites import cli
from elites.runs import train
from elites.runs.commands.pets import asked


def main() -> None:
    with asked(__doc__) as run:  # run.settings is a PETSSettings: a file of configs/pets/, then the flags
        summary = train(
            run.settings,  # planner, horizon, model, training, episodes, …
            run.folder,  # the folder for metrics, checkpoints and pictures
            resume=run.resume,  # whether to continue the run in the folder
            observers=run.observers,  # the screen, and pictures at the end
            stop=run.stop,  # Ctrl-C
            device=run.device,
        )
        run.tell(summary)


if __name__ == "__main__":
    cli.run(main)
