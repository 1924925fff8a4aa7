"""`python -m headway.cli`: the command line without its installed script. Images start their servers by it."""

from __future__ import annotations

import importlib
import sys

from headway.cli.server_command import read_command


def main() -> None:
    """Run a server, if the command is plainly that, or else the command line; exit with its code."""
    arguments = sys.argv[1:]
    command = read_command(arguments)
    if command is None:
        importlib.import_module("headway.cli.main").main()
        return
    try:
        command.run()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the outermost frame: the user gets the full error
        sys.exit(importlib.import_module("headway.cli.main").report_error(error, arguments))


if __name__ == "__main__":
    main()
