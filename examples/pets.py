"""PETS from end to end: collect at random, fit a probabilistic ensemble, plan through it, act, and again.

    python examples/pets.py --planner cem_gd
    python examples/pets.py --env elites/HalfCheetah-v0 --planner icem --set episodes=20
    python examples/pets.py --env Pendulum-v1 --planner cem --out outputs/pendulum
    python examples/pets.py --resume outputs/pendulum

Any Gymnasium environment with vectors for observations and actions will do; where its reward is not known to
`elites.envs`, the model learns it too. What comes out is in the run's folder; `python examples/report.py RUN…` puts
runs side by side.
"""

from elites import cli
from elites.runs.pets import main

if __name__ == "__main__":
    cli.run(lambda: main(__doc__))
