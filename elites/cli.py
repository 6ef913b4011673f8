"""What every script of examples/ has around its main."""

import sys
from collections.abc import Callable
from pathlib import Path


def run(main: Callable[[], None]) -> None:
    """Mistakes in one line and exit code 2, Ctrl-C with 130; a planner of the user's own is found where they work."""
    name = Path(sys.argv[0]).stem
    sys.path.append(str(Path.cwd()))
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\n{name}: stopped", file=sys.stderr)  # noqa: T201
        sys.exit(130)
