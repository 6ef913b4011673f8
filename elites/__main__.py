"""`python -m elites` is the command `elites`."""

from elites import cli  # noqa: F401  # before PyTorch is imported
from elites.runs.commands.main import main

if __name__ == "__main__":
    main()
