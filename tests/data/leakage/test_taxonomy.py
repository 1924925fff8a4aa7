"""Each of the eight kinds of leakage has an answer: found, undecided, clear, or not applicable with the reason."""

from __future__ import annotations

from dataclasses import replace

from tests.data.tables import served, small, surveyed, wide, with_column

from headway.core import plugins
from headway.data.check import check_codes, run_checks
from headway.data.context import CheckContext
from headway.data.leakage.taxonomy import LEAKAGE_CODES, summarize_leakage


def answers(context: CheckContext) -> dict[str, str]:
    return {kind.name: kind.answer for kind in summarize_leakage(run_checks(context))}


def test_every_check_of_leakage_belongs_to_a_kind_but_the_one_that_repeats_what_is_declared():
    families = {name: plugins.family("check", name) for name in plugins.names("check")}
    codes = {check_codes(name)[0] for name, family in families.items() if family in ("leakage", "split")}

    assert codes - {code for of in LEAKAGE_CODES.values() for code in of} == {"D001"}
    assert len(LEAKAGE_CODES) == 8


def test_a_sound_table_that_is_served_is_clear_of_all_eight():
    known = {f"x{each}": "request" for each in range(6)} | {"carrier": "request"}
    days = wide(6000).table["at"].dt.date()
    dataset = with_column(wide(6000, known=known, groups="day"), day=days)
    assert set(answers(served(dataset, 6000)).values()) == {"clear"}


def test_a_table_that_is_not_cut_has_kinds_that_cannot_be_judged_with_the_reason():
    found = {kind.name: kind for kind in summarize_leakage(run_checks(CheckContext(dataset=small())))}

    assert found["no test set"].answer == found["temporal leakage"].answer == "not applicable"
    assert found["duplicates"].why == (
        "D023 did not run: no rows are held out to compare with; D024 did not run: no rows are held out to compare with"
    )
    assert found["features that are not legitimate"].answer == "undecided"


def test_what_stops_or_warns_is_found_with_the_first_finding():
    dataset = with_column(wide(), leak=wide().table["late"] * 1.0)
    told = {kind.name: kind for kind in summarize_leakage(run_checks(surveyed(dataset)))}[
        "features that are not legitimate"
    ]

    assert told.answer == "found" and told.why.startswith("D003 'leak' alone reaches a ROC AUC of 1.000")
    assert "D026 did not run: the log has 0 requests" in told.why


def test_a_note_is_told_and_is_no_leak():
    few = replace(wide(300), roles=wide().roles)
    [chosen] = [kind for kind in summarize_leakage(run_checks(surveyed(few))) if kind.codes == ("D022",)]
    assert chosen.answer == "clear" and chosen.why.startswith("D022 if the")
