"""Fairness: gaps between groups of people in decisions and in calibration."""

from __future__ import annotations

from itertools import groupby

from headway.core.evidence import Measurement
from headway.reporting import details
from headway.reporting import statements as meaning
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, intervals_chart
from headway.reporting.charts.theme import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, winner_measurements, with_enough_rows
from headway.reporting.text import formatting, words

_SHARES = {
    "bias.tpr_gap": "of 100 people for whom yes is right, this many more or fewer get a yes than among the others",
    "bias.fpr_gap": "of 100 people for whom yes is wrong, this many more or fewer get a yes than among the others",
    "bias.selection_gap": "of 100 people, this many more or fewer get a yes than among the others",
    "bias.calibration_gap": "what is said is this many of 100 further from what happens than for the others",
    "bias.ece_gap": "the error of what is said differs by this many of 100 from that for the others",
}
_ERROR = "bias.error_gap"


def plugin(report: ReportData) -> Section | None:
    """Return the section on groups of people that are large enough; None where no gap was measured."""
    every = winner_measurements(report, *_SHARES, _ERROR)
    found = with_enough_rows(report, every)
    if not every:
        return None
    return Section(
        title="Between groups of people",
        place=30,
        prefixes=("bias.",),
        lead="Each group of people that the project names is compared with all the others, by the decisions at the "
        "threshold and by what is said against what happens. 0 is no difference.",
        conclusions=(*_means(found), *details.count_small_parts(report, len(every) - len(found))),
        table=details.tabulate_parts(with_enough_rows(report, _told(report)), report.groups, first="People"),
        picture=lambda: _picture(found) if found else None,
    )


def _told(report: ReportData) -> tuple[Measurement, ...]:
    """Return the gaps and the rates behind them, group by group."""
    held = report.winner.evidence.measurements if report.winner else ()
    return tuple(
        sorted(
            (measurement for measurement in held if measurement.name.startswith("bias.")),
            key=lambda measurement: measurement.slice,
        )
    )


def _means(found: tuple[Measurement, ...]) -> list[str]:
    """Return a sentence per gap that is shown, then how large any other gap could still be."""
    shown = meaning.shown_above(found)
    open_ = [measurement for measurement in found if measurement not in shown and formatting.has_interval(measurement)]
    if not found:
        return []
    lines = [f"{measurement.slice} is shown to differ: {_size(measurement)}." for measurement in shown]
    if not shown:
        lines = ["No group of people is shown to be treated otherwise than the others. That is no proof that all are."]
    if open_:
        worst = max(open_, key=lambda measurement: measurement.high)
        rest = "the other" if shown else "the"
        lines.append(
            f"Of {rest} {len(open_)} comparisons none can be told from no difference; the least sure is that of "
            f"{worst.slice}: it could be as much as {_most(worst)}."
        )
    return lines


def _size(seen: Measurement) -> str:
    if seen.name == _ERROR:
        return f"its mean error is off by {meaning.describe_interval(seen)} from theirs"
    return _SHARES[seen.name].replace("this many", meaning.describe_interval(seen, scale=100.0))


def _most(seen: Measurement) -> str:
    if seen.name == _ERROR:
        return f"{formatting.format_number(seen.high)} of mean error"
    return f"{formatting.format_number(seen.high * 100)} of 100 ({words.measure_name(seen.name)})"


def _picture(found: tuple[Measurement, ...]) -> RenderedChart:
    shown = meaning.shown_above(found)
    ordered = sorted(found, key=lambda measurement: measurement.name)
    panels = [
        _panel(name, tuple(same), shown) for name, same in groupby(ordered, key=lambda measurement: measurement.name)
    ]
    count = f"{len(shown)} of {len(found)} gaps between groups of people are shown to be there"
    return render_chart(
        intervals_chart(panels),
        name="people",
        title=count,
        alt=f"{count}: {', '.join(measurement.slice for measurement in shown) or 'none'}. {SEE_TABLE}",
        reading=(
            "Each line is a group of people against all the others. A line that reaches 0 may be no difference at all.",
            "A cross marks a gap that is shown to be there, of all those that were looked at together.",
        ),
    )


def _panel(name: str, found: tuple[Measurement, ...], shown: list[Measurement]) -> IntervalPanel:
    share = name != _ERROR
    return IntervalPanel(
        title=words.measure_title(name),
        axis="of 100" if share else "mean error",
        scale=100.0 if share else 1.0,
        spans=tuple(
            IntervalRow(name=measurement.slice, seen=measurement, style="fail" if measurement in shown else "live")
            for measurement in found
        ),
    )
