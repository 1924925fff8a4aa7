from __future__ import annotations

from dataclasses import replace

import pytest
from tests.data.tables import small

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.provenance import Tracked
from headway.data.checks.contract.dvc_mismatch import plugin
from headway.data.context import CheckContext

POINTER = Tracked(path="a.csv", record="a.csv.dvc", digest="md5:1")
STAGE = Tracked(path="b.csv", record="../dvc.lock", stage="prepare", digest="md5:2")
UNREAD = Tracked(path="c.csv", record="c.csv.dvc", unread="it is not a mapping")


def found(*tracked: Tracked) -> list[Finding]:
    return plugin(CheckContext(dataset=replace(small(), tracked=tracked)))


def test_matching_and_untracked_data_have_no_finding():
    assert found(POINTER, STAGE) == found() == []


def test_a_changed_file_is_reported_with_both_hints():
    [one] = found(POINTER, with_fields(STAGE, unlike="it is md5:3"))
    assert (one.code, one.severity, one.where) == ("D066", "warn", "b.csv")
    assert one.message == "b.csv is not what DVC recorded: it is md5:3; ../dvc.yaml:prepare has md5:2"
    assert one.hint.startswith("dvc pull ../dvc.yaml:prepare, ") and "dvc commit ../dvc.yaml:prepare" in one.hint


def test_data_that_was_not_fetched_stops():
    [one] = found(with_fields(POINTER, unlike="it is not there", gone=True))
    assert (one.severity, one.hint) == ("stop", "dvc pull a.csv.dvc, to restore the recorded data")


def test_an_unreadable_record_does_not_pass():
    with pytest.raises(NotApplicable, match=r"c\.csv\.dvc was not read: it is not a mapping"):
        found(UNREAD)
    [one] = found(POINTER, UNREAD)
    assert (one.severity, one.where) == ("undecided", "c.csv")


def with_fields(tracked: Tracked, **fields: object) -> Tracked:
    return Tracked(**{name: getattr(tracked, name) for name in tracked.__struct_fields__} | fields)
