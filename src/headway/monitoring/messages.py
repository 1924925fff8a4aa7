"""What became of the messages of a model: which wait for a person, who answered the others, when, and how well."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import DataError, NotApplicable
from headway.core.evidence import Measurement
from headway.core.labeling import LabelRequest
from headway.core.support import MessageSummary
from headway.core.variant import Variant
from headway.evaluation.selective import audit_risk, measure_risk
from headway.evaluation.settings.answer import AnswerSection
from headway.evaluation.statistics.percentiles import percentile_interval
from headway.monitoring.certificate import covered_remote_labels
from headway.monitoring.labeling.selection import MAX_REQUESTS, probabilities_of, requests_of_rows
from headway.monitoring.prediction_log import LABEL_SCHEMA, SegmentReader, read_predictions
from headway.monitoring.scored_rows import day_numbers
from headway.monitoring.settings.support import SupportSection
from headway.registry.project import Project
from headway.storage import traffic
from headway.storage.addresses import log_root

AUDIT_REASON = "audit"
"""Reason of a message that the model answered and whose answer people check."""
ALPHA = 0.025
_INFINITE = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class _Messages:
    """The messages of the log, one row each with its first label, and the live release that reads them."""

    rows: pl.DataFrame
    variant: Variant
    threshold: float
    is_by_day: bool
    """Whether messages of a day are dependent, so that the certificate was made by groups."""
    handed_on: tuple[str, ...]
    """Stages whose messages people answer, unless the remote stage did."""
    remote_covers: tuple[float, ...]
    """Labels of the remote stage that count as answers."""
    audits_remote: bool
    """Whether people check drawn answers of the remote stage; another headway server audits its own."""

    @property
    def by_model(self) -> Bools:
        """Return which the model answered, of shape (n,)."""
        return np.asarray(self.rows["answered_by"].to_numpy() == traffic.ANSWERED_BY.index(traffic.MODEL))

    @property
    def answers(self) -> Ints:
        """Return the class that the model answers or would answer, of shape (n,)."""
        probabilities = probabilities_of(self.rows)
        if self.variant.task != "multiclass":
            return np.asarray(probabilities[:, 1] >= self.threshold).astype(np.int64)
        return np.asarray(probabilities.argmax(axis=1))

    @property
    def waiting(self) -> pl.DataFrame:
        """Return those without a label by a person that were handed on to people or drawn for the audit.

        Messages that the remote stage answered are left out if its audit covers the answer and they were not drawn.
        """
        codes = [traffic.ANSWERED_BY.index(stage) for stage in self.handed_on]
        is_left = pl.col("answered_by").is_in(codes) & ~pl.col("remote_label").is_in(self.remote_covers)
        audited = (traffic.MODEL, traffic.REMOTE) if self.audits_remote else (traffic.MODEL,)
        by_audited = pl.col("answered_by").is_in([traffic.ANSWERED_BY.index(stage) for stage in audited])
        is_audited = by_audited & (pl.col("audit") == 1)
        is_for_people = is_left.fill_null(value=True) | is_audited
        return self.rows.filter(is_for_people & pl.col("label").is_null())


def waiting_messages(project: Project, count: int) -> list[LabelRequest]:
    """Return at most `count` messages without a label that were handed on to people or drawn for the audit.

    The oldest come first. Raises DataError if the live release hands nothing on.
    """
    found = _read_messages(project)
    rows = found.waiting.head(count)
    reasons = [
        AUDIT_REASON if drawn else traffic.REASONS[reason]
        for drawn, reason in rows.select("audit", "reason").iter_rows()
    ]
    requests = requests_of_rows(rows, found.variant)
    return [replace(request, reason=reason) for request, reason in zip(requests, reasons, strict=True)]


def summarize_messages(project: Project) -> MessageSummary:
    """Measure the share that the model answers and the share corrected, the time to the first answer, hours saved.

    Raises DataError if the live release hands nothing on.
    """
    found = _read_messages(project)
    rows, by_model = found.rows, found.by_model
    waiting = found.waiting
    days = day_numbers(rows["at_us"].to_numpy().astype("datetime64[us]"))
    answered = replace(measure_risk(by_model, np.zeros(len(rows)), groups=days)[0], name="answer.coverage")
    drawn = (rows["audit"].to_numpy() == 1) & by_model
    labels = rows["label"].fill_null(math.nan).to_numpy()
    wrong = np.where(np.isnan(labels), math.nan, labels != found.answers)[drawn]
    corrected = None
    if not np.isnan(wrong).all():
        groups = np.unique(days[drawn], return_inverse=True)[1] if found.is_by_day else None
        corrected = audit_risk(wrong, groups=groups, alpha=ALPHA)
    median, why = _median_time(rows, by_model, days)
    minutes = project.config[SupportSection].minutes_by_hand
    return MessageSummary(
        n_messages=len(rows),
        n_waiting=len(waiting),
        oldest_us=int(waiting["at_us"][0]) if len(waiting) else 0,
        answered=answered,
        corrected=corrected,
        first_answer=median,
        no_first_answer=why,
        hours_saved=_hours_saved(int(by_model.sum()), corrected, minutes) if corrected else None,
    )


def _median_time(rows: pl.DataFrame, by_model: Bools, days: Ints) -> tuple[Measurement | None, str]:
    """Return the median time to the first answer in seconds, else why it is unknown; a waiting message has no end."""
    people_s = (rows["labeled_us"] - rows["at_us"]).cast(pl.Float64).fill_null(_INFINITE).to_numpy() / 1e6
    seconds: Floats = np.where(by_model, rows["latency_us"].to_numpy() / 1e6, people_s)
    try:
        found = percentile_interval("answer.first_s", seconds, days, 0.5, of=("messages", "days"))
    except NotApplicable as error:
        return None, error.what
    return replace(found, unit="s"), ""


def _hours_saved(n: int, corrected: Measurement, minutes: float) -> Measurement:
    """Return the hours that people would have taken for what the model answered rightly."""
    hours = n * minutes / 60
    return Measurement(
        name="answer.hours_saved",
        value=hours * (1 - corrected.value),
        low=hours * (1 - corrected.high),
        high=hours * (1 - corrected.low),
        method=f"{minutes:g} minutes by hand for each right answer",
        n_rows=n,
        n_groups=corrected.n_groups,
        unit="h",
        level=corrected.level,
        validity=corrected.validity,
    )


def _read_messages(project: Project) -> _Messages:
    """Return the latest messages of all releases that hand rows on, oldest first, each key once."""
    root, name = log_root(project.config, project.name), project.name
    bundle = project.registry.resolve(f"{name}@live")
    live, covers = bundle.release, covered_remote_labels(project, bundle.release, bundle.digest)
    found = read_predictions(root, name, [folder.name for folder in traffic.log_folders(root, name)])
    if "answered_by" not in found.columns:
        raise DataError(
            "no message was answered by a release with a certificate",
            where=f"{name}@live",
            hint="set [answer] limit, release again, and headway serve",
        )
    is_known = (pl.col("answered") == 1) & (pl.col("status") == 0) & (pl.col("key") != "")
    rows = found.filter(is_known & (pl.col("answered_by") >= 0)).unique("key", keep="first", maintain_order=True)
    tables = SegmentReader(traffic.labels_folder(root, name), [*LABEL_SCHEMA]).read()
    labels = (pl.concat(tables) if tables else pl.DataFrame(schema=LABEL_SCHEMA)).sort("at_us", maintain_order=True)
    is_remote = pl.col("who").eq_missing(traffic.REMOTE)
    is_answer = ~is_remote | pl.col("label").is_in(covers)
    first = labels.group_by("key", maintain_order=True).agg(
        labeled_us=pl.col("at_us").filter(is_answer).first(),
        label=pl.col("label").filter(~is_remote).last(),
        remote_label=pl.col("label").filter(is_remote).last(),
    )
    rows = rows.tail(MAX_REQUESTS).join(first, on="key", how="left", maintain_order="left")
    is_by_day = live.answers is not None and live.answers.certificate.risk.n_groups > 0
    stages = live.answers.stages if live.answers else (traffic.PEOPLE,)
    return _Messages(
        rows=rows,
        variant=live.variant,
        threshold=live.threshold,
        is_by_day=is_by_day,
        handed_on=stages if traffic.PEOPLE in stages else (traffic.PEOPLE,),
        remote_covers=covers,
        audits_remote=bool(project.config[AnswerSection].remote.identity),
    )
