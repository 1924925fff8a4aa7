"""`python -m headway.face`: the command line without its installed script."""

from __future__ import annotations

from headway.face.cli import main

main()
