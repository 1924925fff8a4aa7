"""The line that describes data tracked by DVC."""

from __future__ import annotations

import pytest

from headway.core.provenance import TrackedData


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"digest": "md5:6887"}, "a.csv is md5:6887 by a.csv.dvc"),
        ({"stage": "train"}, "a.csv is not recorded yet by a.csv.dvc, made by its stage train"),
        ({"difference": "md5:1"}, "a.csv is not recorded yet by a.csv.dvc; on disk md5:1"),
        ({"error": "it is not a mapping"}, "a.csv.dvc was not read: it is not a mapping"),
    ],
)
def test_tracked_data_is_described_in_one_line(fields: dict[str, str], line: str) -> None:
    assert str(TrackedData(path="a.csv", record="a.csv.dvc", **fields)) == line
