"""Tables of feature views: cost and worth of each feature, and the values of the log that are not as they should be."""

from __future__ import annotations

from datetime import UTC, datetime

from headway.core.evidence import Measurement
from headway.core.feature_report import FeatureReport, Proposal
from headway.core.value_replay import KINDS, SkewExample, ValueReplay, ValueSkew
from headway.reporting.text import formatting
from headway.reporting.text.tables import Cell, Line, Style, Table, make_table, text_cell

_STYLES: dict[Proposal, Style] = {"harmful": "fail", "useless": "undecided", "undecided": "undecided", "": "plain"}


def tabulate_features(report: FeatureReport) -> Table:
    """Tabulate the features of a release: worth, lookup, gaps, age, drift, and what speaks for removing them."""
    costs = {cost.view: cost for cost in report.costs}
    rows = []
    for feature in report.features:
        cost = costs.get(feature.view)
        lookup = _figure(cost.lookup_us, "us") if cost else text_cell("in the request", "quiet")
        rows.append(
            (
                (Line(text=feature.name, style="strong"), Line(text=feature.view, style="quiet")),
                _figure(feature.worth),
                lookup,
                text_cell(f"{cost.size_bytes:,} B, {cost.n_entities:,} entities" if cost else ""),
                _share(feature.missing),
                _share(feature.stale),
                text_cell(" / ".join(_duration(age) for age in feature.age_s) or "—"),
                _figure(feature.drift),
                text_cell(feature.proposal or "keep" if feature.worth else "unknown", _STYLES[feature.proposal]),
            )
        )
    titles = ("Feature", "Worth", "Lookup", "Online", "Missing", "Stale", "Age", "Drift p", "Proposal")
    return make_table(titles, rows)


def describe_features(report: FeatureReport) -> str:
    """Return what to know about the table of features, and what to do next."""
    lines = [
        "Worth: increase of the error if the feature is missing. Lookup: CPU time a row of its whole view. "
        f"Missing and stale: of {report.n_logged:,} logged rows. Age: median / 99th percentile.",
        *(f"{feature.name}: {feature.reason}" for feature in report.features if feature.reason),
        *(f"not known: {text}" for text in report.unknown),
    ]
    harmful = [feature.name for feature in report.features if feature.proposal in ("harmful", "useless")]
    if harmful:
        lines.append(
            f"next: leave out {formatting.join_names(harmful)} in features.toml, headway features apply, then headway "
            "optimize: the model without them is judged like any other"
        )
    return "\n".join(lines)


def tabulate_skews(replay: ValueReplay) -> Table:
    """Tabulate the skews of a replay: view, kind, features, rows, since when, and examples."""
    rows = (
        (
            text_cell(skew.view, "strong"),
            (Line(text=skew.kind, style="fail"), Line(text=KINDS[skew.kind], style="quiet")),
            (Line(text=formatting.join_names(skew.features)), Line(text=skew.detail, style="quiet")),
            text_cell(f"{skew.n_rows:,} of {_compared(replay, skew):,}"),
            text_cell(_time(skew.since_us)),
            tuple(Line(text=_example(example), style="quiet") for example in skew.examples) or text_cell(""),
        )
        for skew in replay.skews
    )
    titles = ("View", "Kind", "Features", "Rows", "Since (UTC)", "Examples")
    return make_table(titles, rows, folds=("Kind", "Features", "Examples"))


def describe_value_replay(replay: ValueReplay) -> str:
    """Return the answer of a replay in a sentence or two."""
    unknown = [f"{view} was not replayed: {reason}" for view, reason in replay.unknown.items()]
    compared = sum(view.n_rows for view in replay.views)
    lagging = sum(view.n_lagging for view in replay.views)
    if replay.skews:
        worst = replay.skews[0]
        count = f"{len(replay.skews)} skew{'s' if len(replay.skews) > 1 else ''}"
        answer = f"{count}; in {worst.n_rows:,} rows of {worst.view}, {KINDS[worst.kind]}"
    elif replay.views:
        answer = f"all values of {compared:,} lookups in {replay.n_rows:,} rows are as they should be"
    else:
        answer = "no view was replayed"
    if lagging:
        unknown.append(f"{lagging:,} values were older than the newest, within the lag that is allowed")
    return "; ".join([answer, *unknown])


def _compared(replay: ValueReplay, skew: ValueSkew) -> int:
    return next((view.n_rows for view in replay.views if view.view == skew.view), replay.n_rows)


def _example(example: SkewExample) -> str:
    logged, expected = (
        "missing" if value is None else formatting.format_number(value) for value in (example.logged, example.expected)
    )
    return f"request {example.request}: {example.feature} was {logged}, not {expected}"


def _figure(found: Measurement | None, unit: str = "") -> Cell:
    if found is None:
        return text_cell("—", "quiet")
    shown = text_cell(f"{formatting.format_value(found)}{f' {unit}' if unit else ''}")
    return (*shown, Line(text=formatting.format_interval(found), style="quiet")) if found.low < found.high else shown


def _share(found: Measurement | None) -> Cell:
    return text_cell("—", "quiet") if found is None else text_cell(f"{found.value:.2%}")


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{formatting.format_number(seconds / length, width=seconds / length / 10)} {unit}"
    return f"{formatting.format_number(seconds)} s"


def _time(at_us: int) -> str:
    return formatting.format_time(datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds"))
