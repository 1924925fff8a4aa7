"""What a scan finds in a file: problems with their location, and one verdict.

A file is `safe` only if every part of it was read and is on a list of harmless things. It is `unsafe` if opening it
would run code, write files, or exhaust the machine. Anything else is `not judged`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["safe", "unsafe", "not judged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why a file is not safe.

    Parameters
    ----------
    code
        Stable code, such as `pickle-global`.
    message
        The reason in one sentence.
    location
        Where it is: a byte offset, a member of an archive, a node of a graph, a line.
    is_unsafe
        Whether it makes the file unsafe; otherwise the file is not judged.
    """

    code: str
    message: str
    location: str = ""
    is_unsafe: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVerdict:
    """Verdict on one file: its name, its format, its size in bytes, and the problems, the worst first."""

    name: str
    kind: str
    size_bytes: int
    problems: tuple[Problem, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Return unsafe, not judged or safe."""
        return worst(self.problems)


def worst(problems: Iterable[Problem]) -> Verdict:
    """Return the verdict that problems give together."""
    known = [problem.is_unsafe for problem in problems]
    return "unsafe" if any(known) else "not judged" if known else "safe"
