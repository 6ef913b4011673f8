"""Learning without a model: the cross-entropy method over a Q-function, and the agents it is measured against.

    python examples/cgp.py --env Pendulum-v1
    python examples/cgp.py --env HalfCheetah-v5 --agent td3 --set steps=200000
    python examples/cgp.py --env Hopper-v5 --agent qgp --mode offline --num-envs 4
    python examples/cgp.py --resume outputs/Pendulum-v1-cgp-0

Any Gymnasium environment with vectors for observations and bounded actions will do. What comes out is in the run's
folder; `python examples/deploy.py RUN` takes the policy out.
"""

from elites import cli
from elites.runs.learn import main

if __name__ == "__main__":
    cli.run(lambda: main(__doc__))
