"""What changed between two releases: model, columns, contract, threshold, data, policy and measurements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

from headway.core.evidence import Measurement
from headway.core.measure import main_measures_among
from headway.core.record import Record
from headway.core.release import Bounds, Release
from headway.core.variant import Field
from headway.reporting.text import formatting, words
from headway.reporting.text.tables import Cell, Table, make_table, measurement_cell, text_cell

NONE = "none"


class ReleaseChanges(Record, frozen=True, kw_only=True):
    """Two releases side by side: their parts, the columns that differ, and what was measured of each.

    `measured` has the measures of quality and those of the rules, `others` all further ones. `same` names the parts
    that are equal.
    """

    parts: Table
    columns: Table
    bounds: Table
    rules: Table
    measured: Table
    others: Table
    same: tuple[str, ...] = ()


def compare_releases(before: Release, after: Release) -> ReleaseChanges:
    """Compare two releases part by part.

    Each was measured on its own rows; a paired difference is in the verdict of the later one, under `live.`.
    """
    old, new = _parts(before), _parts(after)
    differ = [name for name in new if old[name] != new[name]]
    return ReleaseChanges(
        parts=make_table(
            ("Part", "Before", "After"),
            [(text_cell(name, "strong"), text_cell(old[name]), text_cell(new[name])) for name in differ],
            folds=("Before", "After"),
        ),
        columns=_differences("Column", *(_columns(one.variant.signature.inputs) for one in (before, after))),
        bounds=_differences("Column", *(_bounds(one.contract.columns) for one in (before, after))),
        rules=_differences("Rule", *(_rules(one) for one in (before, after))),
        measured=_measured(before, after, judged=True),
        others=_measured(before, after, judged=False),
        same=tuple(name for name in new if name not in differ),
    )


def _parts(release: Release) -> dict[str, str]:
    """Return what a release is made of, in words."""
    variant, verdict = release.variant, release.verdict
    calibrator = release.calibrator
    by = "the judge" if not verdict.overridden else f"{verdict.by}, against the judge"
    return {
        "Model": variant.name,
        "Fitted model": formatting.short_digest(release.baseline) or "not recorded",
        "Engine": variant.engine,
        "Model file": f"{formatting.short_digest(variant.artifact.digest)}, {variant.artifact.size_bytes:,} bytes",
        "Task": variant.task,
        "Decision threshold": f"{release.threshold:.6g}, by {release.threshold_rule}",
        "Calibrator": str(calibrator) if calibrator else NONE,
        "Feature views": ", ".join(view.name for view in release.views) or NONE,
        **{f"Data, {name}": formatting.short_digest(digest) for name, digest in sorted(release.data.items())},
        "Verdict": f"{verdict.answer}, by {by}",
        "Made": f"{formatting.format_time(release.made_at)} by {release.made_by or 'headway'}",
    }


def _columns(fields: Iterable[Field]) -> dict[str, str]:
    return {
        field.name: f"{'category' if field.datatype == 'BYTES' else 'number'}"
        + (f" of {len(field.categories):,} values, unseen ones: {field.unseen}" if field.categories else "")
        for field in fields
    }


def _bounds(columns: Iterable[Bounds]) -> dict[str, str]:
    found = {}
    for column in columns:
        ends = [f"{end:.6g}" for end in (column.lowest, column.highest) if end is not None]
        allowed = f"{len(column.categories):,} categories" if column.categories else " to ".join(ends)
        found[column.name] = f"{allowed or 'any value'}, missing {column.missing:.1%}"
    return found


def _rules(release: Release) -> dict[str, str]:
    return {
        words.measure_title(result.rule.measure): f"{words.rule_limit(result.rule)}: {result.answer}"
        for result in release.verdict.rule_results
    }


def _differences(first: str, before: Mapping[str, str], after: Mapping[str, str]) -> Table:
    """Tabulate what differs: what is new, gone, or another."""
    rows = (
        (text_cell(name, "strong"), _text_or_none(before.get(name)), _text_or_none(after.get(name)))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    )
    return make_table((first, "Before", "After"), rows, folds=(first, "Before", "After"))


def _text_or_none(text: str | None) -> Cell:
    return text_cell(NONE, "quiet") if text is None else text_cell(text)


def _measured(before: Release, after: Release, *, judged: bool) -> Table:
    """Tabulate the measures of rules and of quality, or all others, as each was judged on its own test rows."""
    of_rules = {result.rule.measure for one in (before, after) for result in one.verdict.rule_results}
    measured = [dict(_measurements(release)) for release in (before, after)]
    found = dict.fromkeys((*measured[1], *measured[0]))
    quality = main_measures_among(found)
    names = [name for name in found if judged is (name in of_rules or name in quality)]
    rows = (
        (
            text_cell(words.measure_title(name), "strong"),
            *(measurement_cell(one.get(name), groups="groups") for one in measured),
        )
        for name in names
    )
    return make_table(("Measure", "Before", "After"), rows, folds=("Measure",))


def _measurements(release: Release) -> Iterator[tuple[str, Measurement]]:
    """Yield the measurements without a slice; those of the evidence that was saved last count."""
    for evidence in sorted(release.evidence, key=attrgetter("at")):
        for found in evidence.measurements:
            if not found.slice and words.is_known_measure(found.name):
                yield found.name, found
