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


def test_data_that_are_as_recorded_and_data_of_no_record_have_no_finding():
    assert found(POINTER, STAGE) == found() == []


def test_a_file_that_changed_is_told_with_both_mends():
    [one] = found(POINTER, replaced(STAGE, unlike="it is md5:3"))
    assert (one.code, one.severity, one.where) == ("D066", "warn", "b.csv")
    assert one.message == "b.csv is not what DVC recorded: it is md5:3; ../dvc.yaml:prepare has md5:2"
    assert one.hint.startswith("dvc pull ../dvc.yaml:prepare, ") and "dvc commit ../dvc.yaml:prepare" in one.hint


def test_rows_that_nobody_fetched_stop():
    [one] = found(replaced(POINTER, unlike="it is not there", gone=True))
    assert (one.severity, one.hint) == ("stop", "dvc pull a.csv.dvc, to restore the recorded data")


def test_a_record_that_could_not_be_read_never_reads_as_passed():
    with pytest.raises(NotApplicable, match=r"c\.csv\.dvc was not read: it is not a mapping"):
        found(UNREAD)
    [one] = found(POINTER, UNREAD)
    assert (one.severity, one.where) == ("undecided", "c.csv")


def replaced(told: Tracked, **fields: object) -> Tracked:
    return Tracked(**{name: getattr(told, name) for name in told.__struct_fields__} | fields)
