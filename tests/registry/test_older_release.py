"""A release that an older headway kept reads as today's."""

from __future__ import annotations

import msgspec
from tests.registry.releases import release

from headway.core.record import read, write
from headway.core.release import Release


def test_a_release_of_version_1_opens_with_its_calibrator_as_a_shift():
    stored = msgspec.json.decode(write(release()))
    stored["version"] = 1
    stored["record"]["calibrator"] = {"shift": 0.5, "n_rows": 10, "n_groups": 2, "at": "2026-11-24"}
    found = read(Release, msgspec.json.encode(stored))
    assert (found.calibrator.shift, str(found.calibrator)) == (0.5, "log-odds shifted by +0.5")
