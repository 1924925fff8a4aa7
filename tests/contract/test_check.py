"""What every check installed must do."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from tests.data.tables import small

from headway.core import plugins
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding

CHECKS = plugins.names("check")


@pytest.mark.parametrize("name", CHECKS)
def test_its_first_line_begins_with_its_code(name):
    assert re.match(r"D\d{3}: ", plugins.describe("check", name))


@pytest.mark.parametrize("name", CHECKS)
def test_it_gives_findings_of_its_own_code_or_says_that_it_cannot_judge(name):
    try:
        findings = list(plugins.load_check(name)(small()))
    except NotApplicable as reason:
        assert reason.what
    else:
        code = plugins.describe("check", name)[:4]
        assert all(isinstance(finding, Finding) and finding.code == code for finding in findings)


@pytest.mark.parametrize("name", CHECKS)
def test_it_leaves_the_table_as_it_was(name):
    dataset = small()
    before = dataset.table.clone()
    with suppress(NotApplicable):
        plugins.load_check(name)(dataset)
    assert dataset.table.equals(before)
