"""Assess the data of a project: run every check, describe the table, and compare it with the last assessment."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np
import polars as pl
from msgspec.structs import replace

import headway
from headway.core import plugins
from headway.core.arrays import Floats, Ints
from headway.core.assessment import UNJUDGED, Assessment, CheckRun, DriftTest, TimeBucket
from headway.core.config import parse_age
from headway.core.dataset import Dataset
from headway.core.errors import DataError, HeadwayError
from headway.core.evidence import Finding, Measurement
from headway.core.provenance import JUDGED
from headway.core.variant import MULTILABEL
from headway.data import check as checking
from headway.data.context import CheckContext, load_detector
from headway.data.matrix import group_codes, target_values
from headway.data.provenance.fingerprint import table_digest
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.data.settings.split import SplitSection
from headway.data.split import labeled_rows, select_period, split_dataset
from headway.evaluation.statistics.intervals import SHARE, UNBOUNDED, Sample, ratio_of_sums, t_interval
from headway.evaluation.statistics.proportions import groups_share
from headway.evaluation.statistics.tables import tally
from headway.features.join import open_with_views
from headway.monitoring.assessment import changes
from headway.monitoring.assessment.changes import draw_sample, encode_sample, last_time
from headway.monitoring.assessment.history import assessment_history
from headway.monitoring.deployed_release import last_training
from headway.monitoring.labeling.agreement import labeling_records
from headway.monitoring.overview import mark_checked
from headway.monitoring.scored_rows import logged_requests, time_expression
from headway.monitoring.settings.threats import ThreatsSection
from headway.registry.project import LIVE_POINTER, Project


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentResult:
    """An assessment and the one before it; `same` means that the last one was repeated and nothing new was saved."""

    now: Assessment
    before: Assessment | None = None
    same: bool = False


def check_context(project: Project, dataset: Dataset) -> CheckContext:
    """Return the context of the checks: rows, their periods if they can be split, and requests to the live release."""
    try:
        parts = split_dataset(dataset, project.config[SplitSection], fitted=bool(project.config[ModelSection].file))
    except DataError:
        parts = {}
    load_requests, detector = partial(logged_requests, project), load_detector(changes.DETECTOR)
    return CheckContext(
        dataset=dataset,
        periods=parts,
        requests=load_requests,
        config=project.config,
        detector=detector,
        labeling=labeling_records(project),
    )


def assess(project: Project, dataset: Dataset, *, who: str, data: Mapping[str, str] | None = None) -> AssessmentResult:
    """Run every check and save the findings, unless data, settings and findings are those of the last assessment.

    They are saved again after half of `[threats] every`, so that a check that is repeated does not become too old. A
    new source, new columns, moved distributions or changed settings open a new assessment, with the next number and the
    reasons. `data` are the digests of the periods of a release that is not live yet, all of whose rows are there.
    """
    began_ns = time.time_ns()
    dataset = open_with_views(project.config, project.state, opened=dataset)
    context = check_context(project, dataset)
    found, stored = _run_checks(project, context, who), assessment_history(project)
    found = replace(found, data=dict(data)) if data else found
    before = stored[-1] if stored else None
    mark_checked(project.config, began_ns)
    if before and _is_unchanged(before, found) and not _is_old(before, found, project):
        return AssessmentResult(now=before, before=stored[-2] if len(stored) > 1 else None, same=True)
    opening = next((assessment for assessment in reversed(stored) if assessment.sample), None)
    if before and opening:
        found = _compare_with_opening(opening, before, found, context, project)
    if not found.number or not opening:
        content = encode_sample(draw_sample(dataset))
        found = replace(found, number=(before.number if before else 0) + 1, sample=project.blobs.put(content))
    project.save(found)
    return AssessmentResult(now=found, before=before)


def assess_retrained(
    project: Project, dataset: Dataset, *, who: str, data: Mapping[str, str], callback: Callable[[str], object]
) -> Assessment:
    """Check the rows that a retrained release learned from and was judged on, so that it has evidence once it is live.

    If the last assessment is of the same table, with the same settings and version, its findings are saved for these
    periods, with their time, and no check runs. If one is of the same periods, it is returned.

    Parameters
    ----------
    data : mapping of str to str
        Digest of the rows of each period, all of which `dataset` has.
    """
    stored = assessment_history(project)
    for known in reversed(stored):
        if known.data == data:
            return known
    last, settings = stored[-1] if stored else None, changes.check_settings(project.config)
    if not last or (last.dataset, last.settings, last.headway) != (dataset.digest, settings, headway.__version__):
        callback("check the data of the new release")
        return assess(project, dataset, who=who, data=data).now
    found = replace(last, data=dict(data), sample="", why=())
    project.save(found)
    return found


def _run_checks(project: Project, context: CheckContext, who: str) -> Assessment:
    """Run every check and describe the table; the number is 0 until it is known what changed."""
    dataset, config = context.dataset, project.config
    findings = checking.run_checks(context)
    roles, sampled = dataset.roles, dataset.sampled
    return Assessment(
        name=project.name,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        by=who,
        headway=headway.__version__,
        number=0,
        source=config[DataSection].name,
        dataset=dataset.digest,
        n_rows=len(dataset.table) if sampled is None else sampled.n_rows,
        n_groups=sampled.n_groups if sampled else dataset.table[roles.groups].n_unique() if roles.groups else 0,
        until=last_time(dataset) if sampled is None else sampled.until,
        columns={name: str(kind) for name, kind in dataset.table.schema.items()},
        settings=changes.check_settings(config),
        check_runs=tuple(_check_runs(findings)),
        findings=tuple(findings),
        time_buckets=time_buckets(dataset),
        parts=split_buckets(dataset, context.periods),
        sampled=sampled,
        data={} if sampled else _retrained_digests(project, dataset) or _period_digests(context),
    )


def _period_digests(context: CheckContext) -> dict[str, str]:
    """Return the digest of the rows of each period that a model is trained or judged on."""
    return {name: table_digest(part.table) for name, part in context.periods.items() if name in JUDGED}


def _retrained_digests(project: Project, dataset: Dataset) -> dict[str, str]:
    """Return the digests of the periods of a live release that was retrained, if the table has all of their rows."""
    address = f"{project.name}@{LIVE_POINTER}"
    try:
        update = project.registry.head(address)
        release = project.registry.resolve(address).release if update and update.release else None
        training = last_training(project, release) if release else None
        if release is None or training is None:
            return {}
        spans = {"train": (training.since, training.until), "test": (training.judged_since, training.judged_until)}
        wanted, labeled = {name: release.data[name] for name in JUDGED if name in release.data}, labeled_rows(dataset)
        if wanted.keys() != spans.keys():
            return {}
        found = {
            name: table_digest(select_period(labeled, *map(datetime.fromisoformat, span), name=name).table)
            for name, span in spans.items()
        }
    except HeadwayError:
        return {}
    return found if found == wanted else {}


def _check_runs(findings: list[Finding]) -> list[CheckRun]:
    """List every check, with the reason of each that could not judge."""
    unjudged = {finding.plugin: finding.message for finding in findings if finding.code == UNJUDGED}
    return [
        CheckRun(name=name, code=next(iter(checking.check_codes(name)), ""), unjudged=unjudged.get(name, ""))
        for name in plugins.names("check")
    ]


def _is_old(before: Assessment, now: Assessment, project: Project) -> bool:
    """Return whether the last assessment is older than half the time for which it counts as evidence on threats."""
    age = datetime.fromisoformat(now.at) - datetime.fromisoformat(before.at)
    return age > parse_age(project.config[ThreatsSection].every, where="[threats] every") / 2


def _is_unchanged(before: Assessment, now: Assessment) -> bool:
    """Return whether the same data give the same findings, with the same version of headway and the same settings."""
    return all(
        getattr(before, part) == getattr(now, part)
        for part in ("dataset", "source", "columns", "settings", "headway", "check_runs", "findings", "data")
    )


def _compare_with_opening(
    opening: Assessment, before: Assessment, now: Assessment, context: CheckContext, project: Project
) -> Assessment:
    """Compare with the assessment that opened the current number; without a reason for a new one, keep its number."""
    tested = before.tested
    if now.dataset != before.dataset:
        tested = changes.compare_distributions(opening, before.tested, context.dataset, project.blobs)
    reasons = [
        *changes.source_finding(opening, now),
        *changes.schema_finding(opening, now),
        *changes.settings_finding(before, now),
    ]
    reasons += changes.distribution_finding(opening, tested)
    if reasons:
        return replace(
            now,
            why=tuple(reasons),
            tested=DriftTest(message=tested.message, p=tested.p, level=tested.level, shifts=tested.shifts),
        )
    return replace(now, number=opening.number, tested=tested)


LENGTHS = {"1d": "%Y-%m-%d", "1w": "%Y-%m-%d", "1mo": "%Y-%m", "1q": "%Y-%m", "1y": "%Y"}
MAX_BUCKETS, MIN_BUCKETS = 24, 2
MAX_CLASSES = 4
MEAN = "target.mean"
_AT = "__at"


def time_buckets(dataset: Dataset) -> tuple[TimeBucket, ...]:
    """Return buckets of the shortest length that gives at most 24.

    None if rows have no time or all fall into one bucket.
    """
    if not dataset.roles.time:
        return ()
    times = dataset.table.select(time_expression(dataset).alias(_AT)).to_series()
    cuts = {length: times.dt.truncate(length) for length in LENGTHS}
    length = next((candidate for candidate, begins in cuts.items() if begins.n_unique() <= MAX_BUCKETS), "1y")
    begins, form = cuts[length], LENGTHS[length]
    if begins.n_unique() < MIN_BUCKETS:
        return ()
    incomplete = _incomplete_columns(dataset.table)
    parts = dataset.table.with_columns(begins.alias(_AT)).partition_by(_AT, as_dict=True, include_key=False)
    order = sorted(start for (start,) in parts)
    return tuple(_bucket(dataclasses.replace(dataset, table=parts[(at,)]), f"{at:{form}}", incomplete) for at in order)


def split_buckets(dataset: Dataset, periods: Mapping[str, Dataset]) -> tuple[TimeBucket, ...]:
    """Return one bucket for each period of the split, in their order."""
    incomplete = _incomplete_columns(dataset.table)
    return tuple(_bucket(part, name, incomplete) for name, part in periods.items())


def _incomplete_columns(table: pl.DataFrame) -> list[str]:
    return [name for name in table.columns if table[name].null_count()]


def _bucket(dataset: Dataset, name: str, incomplete: list[str]) -> TimeBucket:
    table = dataset.table
    since, until = _ends(dataset)
    return TimeBucket(
        name=name,
        n_rows=len(table),
        n_groups=table[dataset.roles.groups].n_unique() if dataset.roles.groups else 0,
        since=since,
        until=until,
        missing={column: table[column].null_count() / len(table) for column in incomplete},
        target=tuple(_target(dataset)),
    )


def _ends(dataset: Dataset) -> tuple[str, str]:
    if not dataset.roles.time:
        return "", ""
    times = dataset.table.select(time_expression(dataset)).to_series()
    ends = (times.min(), times.max())
    first, last = (end.isoformat() if isinstance(end, datetime) else "" for end in ends)
    return first, last


def _target(dataset: Dataset) -> Iterator[Measurement]:
    """Measure the mean of the target, or the share of each class, with an interval by group."""
    roles = dataset.roles
    known = dataclasses.replace(dataset, table=dataset.table.filter(pl.col(roles.target).is_not_null()))
    if known.table.is_empty() or roles.task == "embedding":
        return
    groups = group_codes(known)
    if roles.task == MULTILABEL:
        has_label = target_values(known)
        for name, column in list(zip(roles.classes, has_label.T, strict=True))[:MAX_CLASSES]:
            yield replace(_mean(column, groups, SHARE), slice=name)
        return
    values = known.table[roles.target].cast(pl.Float64).to_numpy()
    if roles.task != "multiclass":
        yield _mean(values, groups, SHARE if roles.task == "binary" else UNBOUNDED)
        return
    for value in np.unique(values)[:MAX_CLASSES]:
        share = _mean((values == value).astype(np.float64), groups, SHARE)
        yield replace(share, slice=_label(roles.classes, int(value)))


def _mean(values: Floats, groups: Ints, bounds: tuple[float, float]) -> Measurement:
    size = int(groups.max()) + 1
    if bounds == SHARE:
        return groups_share(
            MEAN, tally(groups, size, values), tally(groups, size), Sample(n_rows=len(values), n_groups=size)
        )
    estimate = ratio_of_sums(tally(groups, size, values)[None], tally(groups, size)[None])[0]
    return t_interval(MEAN, estimate, Sample(n_rows=len(values), n_groups=size, bounds=bounds))


def _label(classes: tuple[str, ...], number: int) -> str:
    return classes[number] if number < len(classes) else str(number)
