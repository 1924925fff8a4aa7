"""What every check installed must do."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from tests.data.tables import small

import headway
from headway.core import plugins
from headway.core.config import SplitSection
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.check import check_codes
from headway.data.context import CheckContext, load_check
from headway.data.split import split_dataset

CHECKS = plugins.names("check")


def context() -> CheckContext:
    """A small table cut into train, validation and test, of which callers asked the last rows."""
    dataset = small()
    features = dataset.features
    asked = dataset.table.select(features).tail(100)
    return CheckContext(dataset=dataset, periods=split_dataset(dataset, SplitSection()), requests=lambda: asked)


def test_no_two_have_one_name_whatever_their_family():
    folder = Path(headway.__file__).parent / "data" / "checks"
    assert sorted(path.stem for path in folder.glob("*/*.py")) == sorted(set(CHECKS))


@pytest.mark.parametrize("name", CHECKS)
def test_it_declares_its_code_and_its_first_line_begins_with_it(name):
    [code] = check_codes(name)
    assert re.fullmatch(r"D\d{3}", code) and plugins.describe("check", name).startswith(f"{code}: ")


@pytest.mark.parametrize("name", CHECKS)
def test_it_gives_findings_of_its_own_code_or_says_that_it_cannot_judge(name):
    try:
        findings = list(load_check(name)(context()))
    except NotApplicable as reason:
        assert reason.what
    else:
        assert all(isinstance(finding, Finding) and finding.code in check_codes(name) for finding in findings)


@pytest.mark.parametrize("name", CHECKS)
def test_it_leaves_the_table_as_it_was(name):
    looked_at = context()
    before = looked_at.dataset.table.clone()
    with suppress(NotApplicable):
        load_check(name)(looked_at)
    assert looked_at.dataset.table.equals(before)
