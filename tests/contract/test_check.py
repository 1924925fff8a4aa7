"""Test every installed check."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from tests.data.tables import small

import headway
from headway.core import plugins
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.check import check_codes
from headway.data.context import CheckContext, load_check
from headway.data.settings.split import SplitSection
from headway.data.split import split_dataset

CHECKS = plugins.names("check")


def check_context() -> CheckContext:
    """Return the context of a small split table whose last rows are requests."""
    dataset = small()
    features = dataset.features
    requests = dataset.table.select(features).tail(100)
    return CheckContext(dataset=dataset, periods=split_dataset(dataset, SplitSection()), requests=lambda: requests)


def test_names_are_unique_across_families():
    folder = Path(headway.__file__).parent / "data" / "checks"
    assert sorted(path.stem for path in folder.glob("*/[!_]*.py")) == sorted(set(CHECKS))


@pytest.mark.parametrize("name", CHECKS)
def test_it_declares_its_code_and_its_first_line_begins_with_it(name):
    [code] = check_codes(name)
    assert re.fullmatch(r"D\d{3}", code) and plugins.describe("check", name).startswith(f"{code}: ")


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_it_returns_findings_of_its_own_code_or_cannot_judge(name):
    try:
        findings = list(load_check(name)(check_context()))
    except NotApplicable as reason:
        assert reason.what
    else:
        assert all(isinstance(finding, Finding) and finding.code in check_codes(name) for finding in findings)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_it_does_not_change_the_table(name):
    context = check_context()
    before = context.dataset.table.clone()
    with suppress(NotApplicable):
        load_check(name)(context)
    assert context.dataset.table.equals(before)
