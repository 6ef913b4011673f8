"""Searches the weights of a policy with a planner, one generation at a time.

    python examples/policy_search.py --env elites/Reach-v0
    python examples/policy_search.py --env Swimmer-v5 --planner cem
    python examples/policy_search.py --env Hopper-v5 --set policy.architecture.hidden=[32] --workers 4
    python examples/policy_search.py --resume outputs/Swimmer-v5-search-cem-0 --set generations=200

Works with any Gymnasium environment that has vector observations, and bounded actions or choices. The results are in
the run's folder. `elites search` is the same command.
"""

from elites import cli
from elites.runs import train
from elites.runs.commands.search import asked


def main() -> None:
    with asked(__doc__) as run:  # run.settings is a SearchSettings: a file of configs/search/, then the flags
        summary = train(
            run.settings,  # the planner, the form of the policies, generations, workers, …
            run.folder,  # the folder for metrics, checkpoints and pictures
            resume=run.resume,  # whether to continue the run in the folder
            observers=run.observers,  # the screen, and pictures at the end
            stop=run.stop,  # Ctrl-C
            device=run.device,
        )
        run.tell(summary)


if __name__ == "__main__":
    cli.run(main)
