"""`python -m headway.cli`: the command line without its installed script."""

from __future__ import annotations

from headway.cli.main import main

main()
