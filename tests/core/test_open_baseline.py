"""The last baseline that was opened is not opened again."""

from __future__ import annotations

from headway.core.plugins import open_baseline


def test_the_same_baseline_is_opened_once_and_another_one_takes_its_place():
    first = open_baseline("echo", "sha256:1", b"echo", {})
    assert open_baseline("echo", "sha256:1", b"echo", {}) is first
    assert open_baseline("echo", "sha256:1", b"echo", {"threads": 1}) is not first
    assert open_baseline("echo", "sha256:1", b"echo", {}) is not first
