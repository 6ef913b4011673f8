"""`python -m elites` is the command `elites`."""

from elites.runs.commands.main import main

if __name__ == "__main__":
    main()
