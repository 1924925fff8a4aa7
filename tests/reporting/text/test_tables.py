"""The tables of the terminal lose no number at any width."""

from __future__ import annotations

import io
import re

import pytest
from msgspec.structs import replace
from rich.console import Console, RenderableType
from tests.reporting.stories import RULES, estimate, fact, findings, flights, own_project, reasons, refused, replay

from headway.core.evidence import Finding, Measurement
from headway.core.release import PointerUpdate
from headway.core.search_result import Baseline, SearchResult
from headway.core.variant import Step
from headway.core.verdict import Answer, EvaluatedVariant, Rule, RuleResult, Verdict
from headway.evaluation.machine_load import BUSY
from headway.reporting.text import tables, terminal, words
from headway.reporting.text.tables import Table

WIDTHS = (80, 100, 120, 160)
STORY = flights()
TAKEN_APART = [
    estimate("components.brier.drop", 0.012, 0.004, slice="fold"),
    estimate("components.latency.speedup", 1.31, 0.02, slice="fold", unit="x"),
    estimate("components.brier.drop", -0.02, 0.004, slice="calibrator"),
    fact("components.harmful", 1),
    fact("components.harmful", 1, slice="calibrator"),
    estimate("ablation.masked.brier.drop", 0.001, 0.0004, slice="wind_speed"),
]
SHEETS = {
    "parts": tables.tabulate_ablation(TAKEN_APART, "components"),
    "frontier": tables.tabulate_variants(STORY.frontier, winner=STORY.winner, reasons=STORY.reasons),
    "rulings": tables.tabulate_rules(refused().judged.verdict, groups="days"),
    "findings": tables.tabulate_findings(findings()),
}


def printed(what: RenderableType, width: int, *, terminal: bool = False) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=terminal, highlight=False, markup=False).print(what)
    return file.getvalue()


def texts(table: Table) -> list[tuple[bool, str]]:
    """Each line of each cell, and whether it may be folded."""
    return [
        (column.folds, line.text)
        for row in table.rows
        for column, cell in zip(table.columns, row, strict=True)
        for line in cell
    ]


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SHEETS)
def test_no_number_is_cut_or_broken_at_any_width(name: str, width: int) -> None:
    text = printed(terminal.TerminalTable(SHEETS[name]), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert [line for folds, line in texts(SHEETS[name]) if not folds and line not in text] == []


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SHEETS)
def test_a_folded_text_keeps_every_word(name: str, width: int) -> None:
    text = "".join(printed(terminal.TerminalTable(SHEETS[name]), width).split())
    assert [note for note in SHEETS[name].notes if "".join(note.split()) not in text] == []
    words = [word for folds, line in texts(SHEETS[name]) if folds for word in line.split() if len(word) < 20]
    assert [word for word in words if word not in text] == []


def test_columns_that_do_not_fit_go_on_below_under_the_same_key() -> None:
    text = printed(terminal.TerminalTable(SHEETS["frontier"]), 80)
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert len(heads) > 1
    assert [line.split()[0] for line in text.splitlines() if re.match(r"10 ", line)] == ["10"] * len(heads)


def test_the_table_of_variants_has_speed_quality_verdict_and_reasons() -> None:
    text = printed(terminal.TerminalTable(SHEETS["frontier"]), 160)
    for title in ("One row", "Batch", "AUC", "ECE", "Largest", "Verdict"):
        assert title in text
    assert "31.2 us" in text
    assert "Why it lost" in text


def test_screened_out_variants_are_named_with_the_reason() -> None:
    *judged, last = STORY.frontier
    found = SearchResult(
        name="flights",
        baseline=Baseline(model=judged[0].variant),
        evaluated=tuple(judged),
        screened_out=(last,),
        winner=judged[0],
        reasons={last.variant.name: "slower in a first look: 40 us against 2 us"},
    )
    assert f"({last.variant.name})" in printed(terminal.render_search(found), 160)
    assert "1 more screened out" in printed(terminal.render_search_briefly(found), 160)


def searched(*, winner: EvaluatedVariant = STORY.winner, reasons: dict[str, str] | None = None) -> SearchResult:
    return SearchResult(
        name="flights",
        baseline=Baseline(model=STORY.frontier[0].variant),
        evaluated=STORY.frontier,
        winner=winner,
        reasons=reasons or {},
    )


@pytest.mark.parametrize("width", [80, 100])
def test_a_search_ends_with_the_winner_its_gain_the_verdict_and_the_next_command(width: int) -> None:
    text = printed(terminal.render_search(searched(), next_command="headway release --project flights"), width)
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    assert max(map(len, lines)) <= width and lines[-1] == "Next     headway release --project flights"
    end = " ".join(" ".join(lines).rpartition("Winner   ")[2].split())
    assert end.startswith("onnxruntime · truncate(trees=200) · threads=1 Gains One row 8.40 [8.23, 8.57] times as fast")
    assert (
        "one row takes 31.2 us [30.6, 31.8]; 3.70 % [3.29, 4.11] of the decisions differ Quality ranking (AUC)" in end
    )
    assert "Cost A million predictions: not measured" in end.partition("Quality")[2]
    assert "Verdict ✓ pass" in end.partition("Cost")[2]


@pytest.mark.parametrize("width", [80, 100])
def test_losers_collapse_to_one_line_for_each_reason_with_a_count(width: int) -> None:
    used_up = {f"trees · {number}": "the budget of 20 s was used up" for number in range(3)}
    text = " ".join(printed(terminal.render_search(searched(reasons=used_up)), width).split())
    assert "11 not chosen, by reason 4 within the limits, but slower than the winner (such as onnxruntime" in text
    assert (
        "3 fails: decision_churn at most 0.05 (such as" in text and "3 the budget of 20 s was used up (such as" in text
    )
    for word in ("truncate(trees=100)", "decision_churn", "Largest change", "1.31 M rows/s", "[0.668, 0.730]"):
        assert word in text


def test_a_search_without_a_faster_variant_says_so_and_proposes_more_time() -> None:
    late = replace(searched(winner=STORY.frontier[0]), budget_s=20, n_left_out=2)
    text = printed(terminal.render_search(late), 80)
    assert "Winner    none: no faster variant was found in 20 s; try 60 s" in text
    assert "Next      headway optimize --budget 60s" in text and "Gains" not in text


WAITED = Finding(code=BUSY, severity="undecided", message="other processes used the cores", hint="--wait-quiet")


def on_busy_machine(row: EvaluatedVariant, *ratios: Measurement) -> EvaluatedVariant:
    """The variant with these ratios alone of its speed, and why the others are missing."""
    kept = [found for found in row.evidence.measurements if not found.name.startswith(("latency.", "throughput."))]
    evidence = replace(row.evidence, measurements=(*kept, *ratios), findings=(*row.evidence.findings, WAITED))
    return replace(row, evidence=evidence)


@pytest.mark.parametrize(
    ("n_left_out", "end"),
    [
        (0, ", and by CPU time none of the 9 forms tried is shown to be faster"),
        (2, ", and by CPU time none of the 9 forms tried is shown to be faster; try 60 s"),
    ],
)
def test_a_search_on_a_busy_machine_says_that_it_was_not_measured_and_why(n_left_out: int, end: str) -> None:
    rows = tuple(map(on_busy_machine, STORY.frontier))
    found = replace(searched(winner=rows[0]), evaluated=rows, budget_s=20, n_left_out=n_left_out)
    assert words.no_faster_variant(found) == f"not measured: other processes used the cores{end}"
    text = " ".join(printed(terminal.render_search(found), 200).split())
    assert text.endswith("Next headway optimize --wait-quiet") and "no faster variant" not in text


def test_a_busy_search_that_tried_nothing_says_so_only_where_it_left_something_out() -> None:
    rows = (on_busy_machine(STORY.frontier[0]),)
    found = replace(searched(winner=rows[0]), evaluated=rows, budget_s=20, n_left_out=1)
    assert words.no_faster_variant(found) == "not measured: other processes used the cores; try 60 s"
    assert words.no_faster_variant(replace(found, n_left_out=0)).endswith("no transform applies to this model")


def test_a_winner_that_was_timed_in_cpu_time_alone_shows_that_ratio() -> None:
    ratio = estimate("cost.cpu_s.one_row.speedup", 203.0, 20.0, unit="x")
    winner = on_busy_machine(STORY.winner, ratio)
    found = replace(searched(winner=winner), evaluated=(STORY.frontier[0],))
    text = " ".join(printed(terminal.render_search(found), 200).split())
    assert "In CPU time one row 203 [" in text and "times as fast as the baseline" in text


def test_a_search_that_left_nothing_out_for_lack_of_time_does_not_propose_more() -> None:
    found = replace(searched(winner=STORY.frontier[0]), budget_s=20)
    text = " ".join(printed(terminal.render_search(found, next_command="headway release"), 80).split())
    assert "none of the 9 forms tried is shown to be faster and to meet the policy" in text and text.endswith(
        "Next headway release"
    )


def test_a_baseline_that_does_not_pass_does_not_propose_a_plain_release() -> None:
    failed = replace(STORY.frontier[0], verdict=STORY.frontier[-1].verdict)
    found = replace(searched(winner=failed), budget_s=20)
    commands = {"next_command": "headway release", "override_command": 'headway release --override "WHY"'}
    text = " ".join(printed(terminal.render_search(found, **commands), 80).split())
    assert "Baseline ✗ fail" in text
    assert text.endswith('Next more test rows or another policy or headway release --override "WHY"')


def test_a_verdict_that_is_not_pass_names_the_rules_and_does_not_propose_a_plain_release() -> None:
    failed = replace(STORY.winner, verdict=STORY.frontier[-1].verdict)
    override = 'headway release --override "WHY"'
    text = " ".join(printed(terminal.render_search(searched(winner=failed), override_command=override), 80).split())
    assert "Verdict ✗ fail: 3 of 4 rules do not pass. fail: the whole interval is outside the limit" in text
    assert text.endswith('Next more test rows or another policy or headway release --override "WHY"')


RATE = Rule(measure="privacy.membership.tpr_1pct", at_most=0.05)


def attacked(row: EvaluatedVariant, value: float, answer: Answer, *, before: float | None = None) -> EvaluatedVariant:
    """A variant with this rate of an attack, and the answer of the rule on it."""
    rate = estimate(RATE.measure, value, 0.004)
    found = (rate,) if before is None else (rate, estimate(f"{RATE.measure}.difference", value - before, 0.002))
    ruled = RuleResult(rule=RATE, answer=answer, message="", measurement=rate)
    verdict = replace(row.verdict, rule_results=(*row.verdict.rule_results, ruled))
    evidence = replace(row.evidence, measurements=(*row.evidence.measurements, *found))
    return replace(row, evidence=evidence, verdict=verdict)


def test_privacy_of_the_variants_is_shown_once_for_those_that_answer_alike() -> None:
    baseline = attacked(STORY.frontier[0], 0.11, "fail")
    alike = replace(baseline, variant=replace(baseline.variant, steps=(Step(transform="trees"),)))
    pruned = attacked(STORY.frontier[1], 0.04, "pass", before=0.11)
    rows = (baseline, alike, pruned)
    table = tables.tabulate_privacy(rows, alike)
    shown = [[line.text for cell in row for line in cell] for row in table.rows]
    assert [row[0] for row in shown] == [pruned.variant.name, alike.variant.name]
    assert table.chosen == 1
    assert shown[0][2].startswith("-0.07") and shown[0][3] == "✓ pass"
    assert shown[1][2:] == ["", "✗ fail"]
    assert tables.tabulate_privacy(STORY.frontier, STORY.frontier[0]).rows == ()
    text = printed(terminal.render_search(replace(searched(winner=alike), evaluated=rows)), 160)
    assert "Training rows recognized" in text and "✗ fail" in text
    assert "Training rows recognized" in printed(terminal.TerminalTable(tables.tabulate_variants(rows)), 160)
    assert "Training rows recognized" in printed(
        terminal.TerminalTable(tables.tabulate_variants_briefly(rows, alike)), 200
    )


def test_the_brief_table_of_a_regression_shows_its_error_and_no_measure_of_classes() -> None:
    of_numbers = replace(STORY.winner.evidence, measurements=(estimate("rmse", 10.0, 1.0),))
    row = replace(STORY.winner, evidence=of_numbers)
    shown = tables.tabulate_variants_briefly([row], row)
    assert [column.title for column in shown.columns] == ["#", "Variant", "Verdict", "One row", "Batch", "RMSE"]


def test_the_brief_table_of_two_classes_shows_their_ranking_and_no_accuracy() -> None:
    measured = (estimate("roc_auc", 0.7, 0.1), estimate("accuracy", 0.9, 0.1))
    row = replace(STORY.winner, evidence=replace(STORY.winner.evidence, measurements=measured))
    both = [column.title for column in tables.tabulate_variants_briefly([row], row).columns]
    assert "AUC" in both and "Accuracy" not in both
    row = replace(row, evidence=replace(row.evidence, measurements=measured[1:]))
    assert "Accuracy" in [column.title for column in tables.tabulate_variants_briefly([row], row).columns]


def test_a_winner_whose_privacy_is_not_measured_yet_is_to_be_evaluated() -> None:
    unmeasured = RuleResult(rule=RATE, answer="undecided", message="it was not measured")
    verdict = replace(STORY.winner.verdict, answer="undecided", rule_results=(unmeasured,))
    judged = searched(winner=replace(STORY.winner, verdict=verdict))
    override = 'headway release --override "WHY"'
    text = " ".join(printed(terminal.render_search(judged, override_command=override), 120).split())
    assert text.endswith("Next headway evaluate: it measures the privacy of the winner")


def test_the_winner_is_highlighted_and_a_pipe_gets_no_colours() -> None:
    table = terminal.TerminalTable(SHEETS["frontier"])
    assert SHEETS["frontier"].chosen == 6
    assert "\x1b[" in printed(table, 120, terminal=True)
    assert "\x1b[" not in printed(table, 120)


def test_a_frontier_without_a_winner_marks_nothing() -> None:
    assert tables.tabulate_variants(own_project().frontier).chosen == -1


def test_a_frontier_has_only_columns_that_were_measured() -> None:
    bare = [replace(row, evidence=replace(row.evidence, measurements=())) for row in own_project().frontier]
    assert [column.title for column in tables.tabulate_variants(bare).columns] == [
        "#",
        "Variant",
        "Verdict",
        "Loss in Brier, worst slice",
    ]


def test_a_missing_measure_of_one_variant_is_shown_as_not_measured() -> None:
    rows = STORY.frontier
    lacking = replace(rows[1], evidence=replace(rows[1].evidence, measurements=rows[1].evidence.measurements[1:]))
    assert tables.tabulate_variants([rows[0], lacking]).rows[1][3][0].text == "not measured"


def test_a_baseline_that_could_not_be_timed_is_shown_as_not_measured_next_to_the_winner() -> None:
    baseline, winner = STORY.frontier[0], STORY.frontier[1]
    untimed = tuple(seen for seen in baseline.evidence.measurements if seen.name != "latency.one_row")
    baseline = replace(baseline, evidence=replace(baseline.evidence, measurements=untimed))
    judged = replace(winner, evidence=replace(winner.evidence, measurements=()))
    row = next(row for row in tables.tabulate_gain(baseline, winner, judged).rows if row[0][0].text == "One row")
    assert row[1][0].text == "not measured" and row[2] and not row[3]


def test_a_rule_result_shows_number_interval_rows_and_groups() -> None:
    text = printed(terminal.render_rules(refused().judged.verdict, groups="days"), 120)
    assert "✗ fail" in text
    assert "58,665 rows, 62 days" in text
    assert "at most 5 %" in text


def test_findings_are_sorted_by_severity() -> None:
    codes = [row[0][0].text for row in tables.tabulate_findings(findings()).rows]
    assert codes == ["D003", "D011", "D020", "D014"]
    text = printed(terminal.render_findings(findings()), 120)
    assert text.index("D003") < text.index("D011") < text.index("limit 0.01") < text.index("D014")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_summary_answers_four_questions(width: int) -> None:
    text = printed(terminal.render_summary(STORY), width)
    for question in ("What was released?", "Does it meet the policy?", "How much faster?", "What was rejected?"):
        assert question in text
    assert "x 8.40 [8.23, 8.57]" in text


def test_a_replay_is_rendered_with_its_times() -> None:
    text = printed(terminal.render_replay(replay()), 160)
    assert "27,122 rows" in text
    assert "0.0978" in text
    assert "1.31 ms [1.22, 1.40]" in text
    assert "request time" not in printed(terminal.render_replay(replace(replay(), p50=None, p99=None)), 160)


def test_a_release_is_rendered_with_its_pointer_and_a_new_key() -> None:
    move = PointerUpdate(
        name="flights",
        pointer="live",
        number=3,
        release="sha256:9f86d081884c7d65",
        previous="",
        at="2026-11-24T15:00:00+00:00",
        who="ada",
        why="fastest feasible",
    )
    text = printed(terminal.render_release(move, True), 120)
    assert "flights@live is now release 9f86d081884c" in text
    assert "publisher key was created" in text
    assert "publisher key" not in printed(terminal.render_release(move, False), 120)
    assert "by hand" in printed(terminal.render_history([move]), 160)


@pytest.mark.slow
def test_reasons_of_the_demo_reach_the_table() -> None:
    assert set(SHEETS["frontier"].notes) == {"", *reasons(STORY.frontier).values()}
    for width in WIDTHS:
        text = printed(terminal.TerminalTable(SHEETS["frontier"]), width)
        assert text.count("slower than the released variant") == 5


def test_a_verdict_shows_the_relative_rules_and_all_rules_if_they_differ() -> None:
    row = own_project().frontier[0]
    broken = [
        replace(result, answer="undecided") if result.rule.measure == "ece" else result
        for result in row.verdict.rule_results
    ]
    verdict = replace(row.verdict, answer="undecided", rule_results=tuple(broken))
    cell = tables.tabulate_variants([replace(row, verdict=verdict)]).rows[0][2]
    assert [line.text for line in cell] == ["✓ pass", "all rules:", "undecided"]
    assert [line.text for line in tables.tabulate_variants([row]).rows[0][2]] == ["✓ pass"]


@pytest.mark.parametrize(
    ("answers", "expected"), [(("pass", "fail"), "fail"), (("pass", "undecided"), "undecided"), (("pass",), "pass")]
)
def test_one_failed_relative_rule_is_enough_to_fail(answers: tuple[Answer, ...], expected: str) -> None:
    rule_results = [RuleResult(rule=RULES[0], answer=answer, message="") for answer in answers]
    absolute = RuleResult(rule=RULES[3], answer="fail", message="")
    assert (
        tables.baseline_answer(Verdict(answer="fail", subject="", rule_results=(*rule_results, absolute))) == expected
    )


def test_without_relative_rules_the_verdict_is_used() -> None:
    assert tables.baseline_answer(Verdict(answer="undecided", subject="")) == "undecided"


def test_an_ablation_table_has_a_row_for_each_component_with_its_conclusion() -> None:
    table = tables.tabulate_ablation(TAKEN_APART, "components")
    assert [column.title for column in table.columns] == [
        "Component",
        "Increase of the error without it",
        "Latency of one row without it",
        "Conclusion",
    ]
    assert [[cell[0].text if cell else "" for cell in row] for row in table.rows] == [
        ["fold", "0.0120", "x 1.31", ""],
        ["calibrator", "-0.0200", "", "harmful"],
    ]


def test_the_history_names_the_judge_where_the_judge_acted() -> None:
    move = PointerUpdate(
        name="flights", pointer="canary", number=2, release="", previous="", at="2026-11-24T18:38:43.120+00:00",
        who="rollout", why="canary 5 % is rolled back",
    )  # fmt: skip
    back = tables.tabulate_history([move]).rows[0]
    assert [cell[0].text for cell in back[1:5]] == ["flights@canary 2", "withdrawn", "the judge", "the judge"]
    by_hand = tables.tabulate_history([replace(move, who="ada")]).rows[0]
    assert [cell[0].text for cell in by_hand[3:5]] == ["ada", "by hand"]
    override = tables.tabulate_history([replace(move, who="ada", answer="override")]).rows[0]
    assert override[4][0].style == "undecided"


def test_a_wide_table_is_split_below_with_its_key_columns_repeated() -> None:
    table = tables.tabulate_variants(STORY.frontier, winner=STORY.winner, reasons=STORY.reasons)
    parts = tables.split_columns(table, keys=2, max_columns=8)
    assert [[column.title for column in part.columns[:2]] for part in parts] == [["#", "Variant"]] * len(parts)
    titles = [column.title for part in parts for column in part.columns[2:]]
    assert titles == [column.title for column in table.columns[2:]] and max(len(part.columns) for part in parts) <= 8
    assert [bool(part.notes) for part in parts] == [False] * (len(parts) - 1) + [True]
    assert tables.split_columns(parts[0], keys=2, max_columns=8) == (parts[0],)
