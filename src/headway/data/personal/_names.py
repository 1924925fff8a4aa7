"""Given names and surnames of the US census of 1990, from the package `names`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import names

_FOLDER = Path(names.__file__).parent


def _read(file: str) -> Iterator[str]:
    for line in (_FOLDER / file).read_text(encoding="ascii").splitlines():
        yield line.split()[0].capitalize()


GIVEN = frozenset([*_read("dist.female.first"), *_read("dist.male.first")])
SURNAMES = frozenset(_read("dist.all.last"))
