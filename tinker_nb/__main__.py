"""``python -m tinker_nb`` and the command ``tinker-nb``."""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    """Run the command line; without the server's packages, say how to get them."""
    if importlib.util.find_spec("typer") is None:
        sys.stderr.write('tinker-nb: the server needs: pip install "tinker-nb[local]"\n')
        raise SystemExit(2)
    from tinker_nb.server.cli import app

    app()


if __name__ == "__main__":
    main()
