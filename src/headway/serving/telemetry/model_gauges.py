"""Gauges of what monitoring saved about each model, for /metrics: read from the store at intervals, on a thread.

`headway watch` and `headway run` judge a model and save reports and tickets. A server only shows the last ones, so that
Prometheus can alert on them.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

from headway.core.errors import HeadwayError, StoreUnavailable
from headway.core.monitoring import MonitoringReport, MonitoringStatus, Ticket
from headway.core.record import read
from headway.core.release import PointerUpdate
from headway.core.selective import CertificateAudit
from headway.core.value_replay import ReplayStatus, ValueReplay
from headway.serving.telemetry.metrics import labeled_gauges

if TYPE_CHECKING:
    from headway.core.contracts import State
    from headway.core.evidence import Measurement

EVERY_S = 15.0
RECENT = 20
"""Reports that are searched for the last ones of the live release."""
CALIBRATION = "ece"
STATUSES: tuple[MonitoringStatus, ...] = get_args(MonitoringStatus)
REPLAY_STATUSES: tuple[ReplayStatus, ...] = get_args(ReplayStatus)

Sample = tuple[Mapping[str, str], float]
Found = dict[str, list[Sample]]
HELP = {
    "headway_model_status": "1 for the status of the last ended period of the live release, 0 for the others.",
    "headway_model_period_end_seconds": "End of the last period that was judged, seconds since 1970.",
    "headway_model_quality": "Quality in the last period with labels, with the bounds of its interval.",
    "headway_model_calibration_error": "Expected calibration error in the last period with labels, with its bounds.",
    "headway_model_drift": "1 if the inputs have drifted in the last period that could be judged.",
    "headway_model_drift_p_value": "p-value of the drift of all inputs together.",
    "headway_model_feature_values": "1 for what the last value replay of the live release showed, 0 for the others.",
    "headway_model_feature_skew_rows": "Rows of the last value replay that saw wrong values of a view, by kind.",
    "headway_model_replay_time_seconds": "Time of the last value replay of the live release, seconds since 1970.",
    "headway_certificate_withdrawn": "Classes that the live release answers no more, after an audit.",
    "headway_certificate_risk": "Share of wrong answers among those that people checked, with its bounds.",
}
TICKET = "headway_retraining_ticket_age_seconds"
HELP_TICKET = "Age of the open proposal to retrain the live release; 0 without one."


class ModelGauges:
    """Reads the last reports and tickets of models; `lines` returns what the last read found."""

    def __init__(
        self,
        state: State,
        models: Iterable[str],
        *,
        every_s: float = EVERY_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._models = sorted(models)
        self._every_s = every_s
        self._monotonic = monotonic
        self._due_s = -math.inf
        self._seen: dict[str, tuple[bytes | None, ...]] = {}
        self._found: dict[str, Found] = {}
        self._opened: dict[str, datetime | None] = {}

    def poll(self) -> None:
        """Read the store if it is due; raises StoreUnavailable, and then reads again with the next call."""
        if self._monotonic() < self._due_s:
            return
        for model in self._models:
            try:
                self._read(model)
            except StoreUnavailable:
                raise
            except HeadwayError:  # records that cannot be read; `headway watch` names them
                self._found.pop(model, None)
        self._due_s = self._monotonic() + self._every_s

    def lines(self) -> Iterator[str]:
        """Yield the Prometheus text of what is known."""
        found = dict(self._found)
        if not found:
            return
        for name, message in HELP.items():
            yield from labeled_gauges(name, message, (sample for one in found.values() for sample in one.get(name, ())))
        now = datetime.now(UTC)
        ages = (({"model": model}, _age_s(self._opened.get(model), now)) for model in found)
        yield from labeled_gauges(TICKET, HELP_TICKET, ages)

    def _read(self, model: str) -> None:
        """Read what is known of a model, unless it is what was read before."""
        state = self._state
        last = state.last(model, "live")
        seen = (
            last.content if last else None,
            state.latest("monitoring_report", name=model),
            state.latest("ticket", name=model),
            state.latest("value_replay", name=model),
            state.latest("certificate_audit", name=model),
        )
        if self._seen.get(model) == seen:
            return
        live = read(PointerUpdate, last.content).release if last else ""
        saved = state.recent("monitoring_report", name=model, limit=RECENT)
        reports = [read(MonitoringReport, one.content) for one in reversed(saved)]
        ticket = read(Ticket, seen[2]) if seen[2] else None
        replays = [read(ValueReplay, one.content) for one in state.recent("value_replay", name=model, limit=RECENT)]
        audit = read(CertificateAudit, seen[4]) if seen[4] else None
        self._found[model] = {
            **dict(_gauges(model, live, reports)),
            **dict(_replay_gauges(model, live, replays)),
            **(dict(_audit_gauges(model, audit)) if audit and audit.release == live else {}),
        }
        is_open = ticket is not None and ticket.release == live
        # a ticket of an earlier version has the time of its data alone: its age counts from when it was first read
        opened_at = ticket.opened_at if ticket else ""
        self._opened[model] = (_time(opened_at) if opened_at else datetime.now(UTC)) if is_open else None
        self._seen[model] = seen


def _gauges(model: str, live: str, reports: Iterable[MonitoringReport]) -> Iterator[tuple[str, list[Sample]]]:
    """Yield the samples of each gauge that something is known of; without a report the status is unknown."""
    ended = sorted(
        (report for report in reports if report.is_complete and report.release == live), key=lambda report: report.until
    )
    status = ended[-1].status if ended else "unknown"
    name = {"model": model}
    yield "headway_model_status", [({**name, "status": one}, float(one == status)) for one in STATUSES]
    if judged := [report for report in ended if report.status != "unknown"]:
        yield "headway_model_period_end_seconds", [(name, _time(judged[-1].until).timestamp())]
    if labeled := [report for report in ended if report.quality]:
        quality = [one for one in labeled[-1].quality if not one.slice]
        yield (
            "headway_model_quality",
            [
                sample
                for one in quality
                if one.name != CALIBRATION
                for sample in _bounds({**name, "measure": one.name}, one)
            ],
        )
        yield (
            "headway_model_calibration_error",
            [sample for one in quality if one.name == CALIBRATION for sample in _bounds(name, one)],
        )
    if drifts := [report.drift for report in ended if report.drift]:
        yield "headway_model_drift", [(name, float(drifts[-1].alarm))]
        yield (
            "headway_model_drift_p_value",
            [(name, one.value) for one in drifts[-1].measurements if one.name == "drift.p" and not one.slice],
        )


def _replay_gauges(model: str, live: str, replays: Sequence[ValueReplay]) -> Iterator[tuple[str, list[Sample]]]:
    """Yield what the last value replay of the live release showed; unknown if only others were replayed."""
    if not replays:
        return
    last = next((replay for replay in replays if replay.release == live), None)
    name: Mapping[str, str] = {"model": model}
    status = last.status if last else "unknown"
    yield "headway_model_feature_values", [({**name, "status": one}, float(one == status)) for one in REPLAY_STATUSES]
    if last:
        rows = Counter[tuple[str, str]]()
        for skew in last.skews:
            rows[skew.view, skew.kind] += skew.n_rows
        samples: list[Sample] = [
            ({**name, "view": view, "kind": kind}, float(count)) for (view, kind), count in rows.items()
        ]
        yield "headway_model_feature_skew_rows", samples
        yield "headway_model_replay_time_seconds", [(name, _time(last.at).timestamp())]


def _audit_gauges(model: str, audit: CertificateAudit) -> Iterator[tuple[str, list[Sample]]]:
    """Yield what the last audit of the certificate of the live release showed."""
    name = {"model": model}
    yield "headway_certificate_withdrawn", [(name, float(len(audit.withdrawn)))]
    if audit.risk is not None:
        yield "headway_certificate_risk", _bounds(name, audit.risk)


def _bounds(labels: Mapping[str, str], measured: Measurement) -> list[Sample]:
    """Return the value of a measurement and the bounds of its interval."""
    ends = {"value": measured.value, "low": measured.low, "high": measured.high}
    return [({**labels, "bound": bound}, end) for bound, end in ends.items()]


def _age_s(opened: datetime | None, now: datetime) -> float:
    return max(0.0, (now - opened).total_seconds()) if opened else 0.0


def _time(text: str) -> datetime:
    """Return a time of a record; one without a zone is in UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
