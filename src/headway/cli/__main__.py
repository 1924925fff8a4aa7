"""`python -m headway.cli`: the command line without its installed script. Images start their servers by it."""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Run a server, if the command is plainly that, or else the command line; exit with its code."""
    arguments = sys.argv[1:]
    # Only `serve` imports the server: every other command starts without it.
    server = importlib.import_module("headway.cli.server_command") if arguments[:1] == ["serve"] else None
    command = server.read_command(arguments) if server else None
    if command is None:
        importlib.import_module("headway.cli.main").main()
        return
    try:
        command.run()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the outermost frame: the user gets the full error
        sys.exit(importlib.import_module("headway.cli.main").report_error(error, arguments))


if __name__ == "__main__":
    main()
