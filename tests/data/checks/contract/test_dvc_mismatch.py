from __future__ import annotations

from dataclasses import replace

import pytest
from tests.data.tables import small

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.provenance import TrackedData
from headway.data.checks.contract.dvc_mismatch import plugin
from headway.data.context import CheckContext

POINTER = TrackedData(path="a.csv", record="a.csv.dvc", digest="md5:1")
STAGE = TrackedData(path="b.csv", record="../dvc.lock", stage="prepare", digest="md5:2")
UNREAD = TrackedData(path="c.csv", record="c.csv.dvc", error="it is not a mapping")


def found(*tracked: TrackedData) -> list[Finding]:
    return plugin(CheckContext(dataset=replace(small(), tracked=tracked)))


def test_matching_and_untracked_data_have_no_finding():
    assert found(POINTER, STAGE) == found() == []


def test_a_changed_file_is_reported_with_both_hints():
    [one] = found(POINTER, with_fields(STAGE, difference="it is md5:3"))
    assert (one.code, one.severity, one.where) == ("D066", "warn", "b.csv")
    assert one.message == "b.csv is not what DVC recorded: it is md5:3; ../dvc.yaml:prepare has md5:2"
    assert one.hint.startswith("dvc pull ../dvc.yaml:prepare, ") and "dvc commit ../dvc.yaml:prepare" in one.hint


def test_data_that_was_not_fetched_stops():
    [one] = found(with_fields(POINTER, difference="it is not there", missing=True))
    assert (one.severity, one.hint) == ("stop", "dvc pull a.csv.dvc, to restore the recorded data")


def test_an_unreadable_record_does_not_pass():
    with pytest.raises(NotApplicable, match=r"c\.csv\.dvc was not read: it is not a mapping"):
        found(UNREAD)
    [one] = found(POINTER, UNREAD)
    assert (one.severity, one.where) == ("undecided", "c.csv")


def with_fields(tracked: TrackedData, **fields: object) -> TrackedData:
    return TrackedData(**{name: getattr(tracked, name) for name in tracked.__struct_fields__} | fields)
