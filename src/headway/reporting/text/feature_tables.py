"""Tables of feature views: cost and worth of each feature, and the values of the log that are not as they should be."""

from __future__ import annotations

from datetime import UTC, datetime

from headway.core.evidence import Measurement
from headway.core.feature_report import FeatureReport, FeatureWorth, Proposal
from headway.core.value_replay import KINDS, ReplayStatus, SkewExample, ValueReplay, ValueSkew
from headway.monitoring.feature_status import describe_skew
from headway.reporting.text import formatting
from headway.reporting.text.tables import Cell, Line, Style, Table, make_table, text_cell

REPLAY_STATUS: dict[ReplayStatus, tuple[Style, str]] = {
    "equal": ("pass", "all values are as they should be"),
    "differs": ("fail", "values differ"),
    "unknown": ("undecided", "cannot be judged"),
}
_STYLES: dict[Proposal, Style] = {"harmful": "fail", "": "plain"}
_STYLES |= {"useless": "undecided", "too dear": "undecided", "undecided": "undecided"}
_REMOVED = ("harmful", "useless", "too dear")


def tabulate_features(report: FeatureReport) -> Table:
    """Tabulate the features of a release: worth, lookup, gaps, age, drift, and what speaks for removing them."""
    costs = {cost.view: cost for cost in report.costs}
    rows: list[tuple[Cell, ...]] = []
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
    for cost in report.costs:
        if cost.worth:
            name = (Line(text="all of the view", style="strong"), Line(text=cost.view, style="quiet"))
            proposal = text_cell(cost.proposal or "keep", _STYLES[cost.proposal])
            empty = [text_cell("")] * 5
            rows.append((name, _figure(cost.worth), _figure(cost.lookup_us, "us"), *empty, proposal))
    titles = ("Feature", "Worth", "Lookup", "Online", "Missing", "Stale", "Age", "Drift p", "Proposal")
    return make_table(titles, rows)


def describe_features(report: FeatureReport) -> str:
    """Return what to know about the table of features, and what to do next."""
    lines = [
        "Worth: increase of the error if the feature is missing. Lookup: CPU time a row of its whole view. "
        f"Missing and stale: of {report.n_logged:,} logged rows. Age: median / 99th percentile.",
        *(f"{feature.name}: {feature.reason}" for feature in report.features if feature.reason),
        *(f"all of {cost.view}: {cost.reason}" for cost in report.costs if cost.reason),
        *(f"not known: {text}" for text in report.unknown),
    ]
    if removed := _removable(report):
        lines.append(
            f"next: headway optimize --without {','.join(removed)}: the model without them is judged like any other"
        )
    return "\n".join(lines)


def tabulate_skews(replay: ValueReplay, report: FeatureReport | None = None, *, examples: bool = True) -> Table:
    """Tabulate the skews of a replay: view, kind, features, rows, since when, and examples.

    Parameters
    ----------
    replay : ValueReplay
    report : FeatureReport, optional
        Adds what the features that differ are worth, and what their lookup costs.
    examples : bool
        False leaves out the examples: they are values of rows.
    """
    rows = (
        (
            text_cell(skew.view, "strong"),
            (Line(text=skew.kind, style="fail"), Line(text=KINDS[skew.kind], style="quiet")),
            (Line(text=formatting.join_names(skew.features)), Line(text=skew.detail, style="quiet")),
            text_cell(f"{skew.n_rows:,} of {_compared(replay, skew):,}"),
            _span(skew),
            *([_stake(skew, report)] if report else []),
            *([tuple(Line(text=_example(one), style="quiet") for one in skew.examples)] if examples else []),
        )
        for skew in replay.skews
    )
    titles = ("View", "Kind", "Features", "Rows", "Since", *(["Worth, lookup"] if report else []))
    folds = ("Kind", "Features", "Worth, lookup", "Examples")
    return make_table((*titles, *(["Examples"] if examples else [])), rows, folds=folds)


def _span(skew: ValueSkew) -> Cell:
    last = (Line(text=f"last {format_time_us(skew.until_us)}", style="quiet"),) if skew.until_us else ()
    return (Line(text=format_time_us(skew.since_us)), *last)


def _stake(skew: ValueSkew, report: FeatureReport) -> Cell:
    """Return what each feature of a skew is worth, and what the lookup of its view costs."""
    worth = [f"{one.name}: {_measured(one.worth)}" for one in _affected(skew, report) if one.worth]
    cost = next((cost.lookup_us for cost in report.costs if cost.view == skew.view), None)
    lines = [*worth, *([f"lookup {_measured(cost, 'us')} a row"] if cost else [])]
    return tuple(Line(text=line) for line in lines) or text_cell("not measured", "quiet")


def _affected(skew: ValueSkew, report: FeatureReport) -> list[FeatureWorth]:
    return [one for one in report.features if one.view == skew.view and one.name in skew.features]


def skew_sentences(replay: ValueReplay, report: FeatureReport | None = None) -> tuple[str, ...]:
    """Return what a replay found: a sentence for each skew, then those of `replay_remarks`."""
    return (*(_skew_sentence(replay, skew) for skew in replay.skews), *replay_remarks(replay, report))


def replay_remarks(replay: ValueReplay, report: FeatureReport | None = None) -> tuple[str, ...]:
    """Return what the table of skews does not show: what they put at risk, what was not compared, the next step."""
    lines = []
    if not replay.skews and replay.views and replay.n_rows:
        compared = sum(view.n_rows for view in replay.views)
        lines.append(f"All values of {compared:,} lookups in {replay.n_rows:,} rows are as they should be.")
    affected = [one for skew in replay.skews for one in _affected(skew, report)] if report else []
    lines += [
        f"{one.name} matters: without it the error of the model rises by {_measured(one.worth)}."
        for one in dict.fromkeys(affected)
        if one.worth and one.worth.low > 0
    ]
    lines += [f"{view} could not be replayed: {reason}." for view, reason in replay.unknown.items()]
    if lagging := sum(view.n_lagging for view in replay.views):
        lines.append(f"{lagging:,} values were older than the newest, within the lag that is allowed.")
    if replay.n_left_out:
        lines.append(f"{replay.n_left_out:,} older rows were not compared: there were too many.")
    if replay.skews:
        lines.append(
            "Correct what fills the online store, or the source, then replay again: headway features replay. If the "
            "skew began with a release, roll it back."
        )
    return tuple(lines)


def _skew_sentence(replay: ValueReplay, skew: ValueSkew) -> str:
    rows = f"{skew.n_rows:,} of {_compared(replay, skew):,} rows"
    return f"{describe_skew(skew)}, in {rows}, since {format_time_us(skew.since_us)} (kind: {skew.kind})."


def feature_sentences(report: FeatureReport) -> tuple[str, ...]:
    """Return what a feature report shows: the best feature, what to remove, gaps, and what is not known."""
    measured = [one for one in report.features if one.worth]
    best = max(measured, key=lambda one: one.worth.low if one.worth else 0.0, default=None)
    lines = []
    if best and best.worth and best.worth.low > 0:
        lines.append(f"{best.name} is worth most: without it the error rises by {_measured(best.worth)}.")
    lines += [f"{one.name} is {one.proposal}: {one.reason}." for one in report.features if one.proposal]
    lines += [f"All of {cost.view} is {cost.proposal}: {cost.reason}." for cost in report.costs if cost.proposal]
    lines += [
        f"The lookup of {cost.view} takes {_measured(cost.lookup_us, 'us')} of CPU time a row."
        for cost in report.costs
        if cost.lookup_us
    ]
    for word, gaps in (
        ("missing", [(one, one.missing) for one in report.features]),
        ("older than the TTL of its view", [(one, one.stale) for one in report.features]),
    ):
        shown = [f"{one.name} in {share.value:.2%}" for one, share in gaps if share and share.value]
        if shown:
            lines.append(f"A value is {word}: {formatting.join_names(shown)} of {report.n_logged:,} logged rows.")
    lines += [f"Not known: {text}." for text in report.unknown]
    if removable := _removable(report):
        lines.append(
            f"Next: headway optimize --without {','.join(removable)}. The model without them is judged like any other."
        )
    return tuple(lines)


def _removable(report: FeatureReport) -> list[str]:
    """Return the views and features that are proposed for removal."""
    views = [cost.view for cost in report.costs if cost.proposal in _REMOVED]
    features = [one.name for one in report.features if one.proposal in _REMOVED and one.view not in views]
    return [*(view.partition("@")[0] for view in views), *features]


def _measured(found: Measurement, unit: str = "") -> str:
    """Return a measurement in a sentence, with a unit that its record does not have."""
    value, interval = formatting.format_value(found), formatting.format_interval(found)
    return " ".join(part for part in (value, unit, interval) if part)


def tabulate_replayed(replay: ValueReplay) -> Table:
    """Tabulate the views of a replay: whether their values are right, and how many rows were compared."""
    compared = (
        (
            text_cell(view.view, "strong"),
            text_cell(REPLAY_STATUS["differs" if view.skews else "equal"][1], "fail" if view.skews else "pass"),
            text_cell(f"{view.n_rows:,}"),
            text_cell(f"{view.n_lagging:,}"),
        )
        for view in replay.views
    )
    rest = (
        (text_cell(view, "strong"), (Line(text="? cannot be judged", style="undecided"), Line(text=reason)), (), ())
        for view, reason in replay.unknown.items()
    )
    return make_table(("View", "Values", "Rows", "Within the lag"), (*compared, *rest), folds=("View", "Values"))


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


def format_time_us(at_us: int) -> str:
    """Format a time in microseconds since 1970, in UTC."""
    return formatting.format_time(datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds"))
