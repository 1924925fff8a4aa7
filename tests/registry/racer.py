"""A process of its own that moves flights@live as it is told: the number of the move it saw last in, a line out."""

from __future__ import annotations

import sys
from pathlib import Path

from releases import FILES, passed, register, release

from headway.core.errors import PointerMoved


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def point(folder: Path, who: str) -> None:
    ours = register(folder)
    digest = ours.publish(release(made_at=who), FILES)
    say("ready")
    for line in sys.stdin:
        try:
            ours.point("flights@live", digest, passed(who), after=int(line))
            say("won")
        except PointerMoved as error:
            say(f"told {error.what}")


if __name__ == "__main__":
    point(Path(sys.argv[1]), sys.argv[2])
