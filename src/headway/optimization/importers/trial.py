"""Import one model file as a subprocess whose time and memory are limited, to learn whether that ends.

Usage: `python -m headway.optimization.importers.trial ENGINE SUFFIX SECONDS MEGABYTES`, with the file on standard
input. Prints the error as JSON if the engine refuses it.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from headway.core.contracts import ModelFile
from headway.core.errors import HeadwayError
from headway.core.plugins import load_engine

REFUSED = 3


def main(engine: str, suffix: str, seconds: str, megabytes: str) -> int:
    """Import the file; exit 3 with the error on standard output if the engine refuses it."""
    kind = load_engine(engine)
    file = ModelFile(content=sys.stdin.buffer.read(), suffix=suffix)
    _limit(resource.RLIMIT_CPU, int(float(seconds)) + 1)
    limit_memory(int(megabytes))
    try:
        kind.import_model(file)
    except HeadwayError as error:
        found = {"what": error.what, "where": error.where, "hint": error.hint}
        sys.stdout.buffer.write(msgspec.json.encode(found))
        return REFUSED
    return 0


def limit_memory(megabytes: int) -> None:
    """Limit the memory of this process beyond that which it has."""
    _limit(resource.RLIMIT_AS, _address_space() + (megabytes << 20))


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    with suppress(ValueError):  # macOS has no limit of the address space
        resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _address_space() -> int:
    """Return the size of this process in bytes, with what its libraries reserved; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 1 << 32
    return pages * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
