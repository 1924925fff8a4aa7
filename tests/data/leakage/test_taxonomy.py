"""Each of the eight kinds of leakage has an answer: found, undecided, clear, or not applicable with the reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.data.tables import served_context, small, split_context, wide, with_column

from headway.core import plugins
from headway.data.check import check_codes, run_checks
from headway.data.context import CheckContext
from headway.data.leakage.taxonomy import LEAKAGE_CODES, summarize_leakage


def test_every_leakage_check_except_the_declared_columns_belongs_to_a_kind():
    families = {name: plugins.family("check", name) for name in plugins.names("check")}
    codes = {check_codes(name)[0] for name, family in families.items() if family in ("leakage", "split")}

    assert codes - {code for of in LEAKAGE_CODES.values() for code in of} == {"D001"}
    assert len(LEAKAGE_CODES) == 8


@pytest.mark.slow
def test_a_sound_table_is_clear_of_each_kind_whose_checks_all_ran():
    known = {f"x{index}": "request" for index in range(6)} | {"carrier": "request"}
    days = wide(6000).table["at"].dt.date()
    dataset = with_column(wide(6000, known=known, groups="day"), day=days)
    found = {kind.name: kind for kind in summarize_leakage(run_checks(served_context(dataset, 6000)))}
    part = {name: kind.not_run for name, kind in found.items() if kind.answer == "partly checked"}
    assert part == {"features that are not legitimate": ("D002", "D025", "D033")}
    assert {kind.answer for name, kind in found.items() if name not in part} == {"clear"}


@pytest.mark.slow
def test_an_unsplit_table_has_kinds_that_are_not_applicable():
    found = {kind.name: kind for kind in summarize_leakage(run_checks(CheckContext(dataset=small())))}

    assert found["no test set"].answer == found["temporal leakage"].answer == "not applicable"
    assert found["duplicates"].why == (
        "D023 did not run: no rows are held out to compare with; D024 did not run: no rows are held out to compare with"
    )
    assert found["features that are not legitimate"].answer == "undecided"


@pytest.mark.slow
def test_a_kind_is_found_with_its_first_finding():
    dataset = with_column(wide(), leak=wide().table["late"] * 1.0)
    found = {kind.name: kind for kind in summarize_leakage(run_checks(split_context(dataset)))}[
        "features that are not legitimate"
    ]

    assert found.answer == "found" and found.why.startswith("D003 'leak' alone reaches a ROC AUC of 1.000")
    assert "D026 did not run: the log has 0 requests" in found.why


@pytest.mark.slow
def test_a_note_is_shown_and_is_not_a_leak():
    few = replace(wide(300), roles=wide().roles)
    [chosen] = [kind for kind in summarize_leakage(run_checks(split_context(few))) if kind.codes == ("D022",)]
    assert chosen.answer == "clear" and chosen.why.startswith("D022 if the")


@pytest.mark.slow
def test_a_strong_honest_column_is_suspected_and_not_called_a_leak():
    late = wide().table["late"]
    strong = late * 1.0 + pl.Series(np.random.default_rng(0).normal(0, 0.55, len(late)))
    found = {kind.codes: kind for kind in summarize_leakage(run_checks(split_context(with_column(wide(), sum=strong))))}
    [kind] = [kind for codes, kind in found.items() if "D003" in codes]
    assert kind.answer == "suspected" and "D003 'sum' alone reaches" in kind.why
