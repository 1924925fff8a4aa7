"""A process of its own that works on a register as it is told, a line in, a line out.

`point AFTER` moves flights@live; `publish` goes on publishing and pointing until it is killed.
"""

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


def publish(folder: Path) -> None:
    ours = register(folder)
    for number in range(1, 50):
        digest = ours.publish(release(made_at=str(number)), {**FILES, "big": bytes(300_000)})
        ours.point("flights@live", digest, passed())
        say(str(number))


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    if sys.argv[1] == "publish":
        publish(folder)
    else:
        point(folder, sys.argv[3])
