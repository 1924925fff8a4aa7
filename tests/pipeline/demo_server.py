"""A program that serves as the demo does, to be interrupted; it imports little, because each test starts it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from headway.cli.demo.replay import server


def serve_as_the_demo_does(folder: Path) -> None:
    """Print the address of a server of the demo, and wait for Ctrl-C, which is expected."""
    sys.stdout.write("begins\n")
    try:
        with server(folder, "flights@live") as address:
            sys.stdout.write(f"{address}\n")
            signal.pause()
    except KeyboardInterrupt:
        sys.stdout.write("interrupted\n")


if __name__ == "__main__":
    serve_as_the_demo_does(Path(sys.argv[1]))
