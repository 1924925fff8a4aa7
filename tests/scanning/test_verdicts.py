"""One verdict a file, from its problems."""

from __future__ import annotations

import pytest

from headway.scanning.verdicts import FileVerdict, Problem

UNSAFE = Problem(code="pickle-global", message="calls os.system")
UNKNOWN = Problem(code="unknown-format", message="no reader knows this format", is_unsafe=False)


@pytest.mark.parametrize(
    ("problems", "verdict"),
    [((), "safe"), ((UNKNOWN,), "not judged"), ((UNKNOWN, UNSAFE), "unsafe"), ((UNSAFE,), "unsafe")],
)
def test_what_could_not_be_judged_is_never_safe(problems, verdict):
    assert FileVerdict(name="a", kind="pickle", size_bytes=1, problems=problems).verdict == verdict
