"""Data: checks and their history, charts, contract, quarantine, drift, features of views, and the use of the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from headway.core.assessment import Assessment
from headway.core.evidence import Measurement
from headway.core.feature_report import FeatureReport
from headway.core.late import LateModule
from headway.core.monitoring import MonitoringReport
from headway.core.quarantine import Decision, RowDecision
from headway.core.record import StoredRecord, digest_of, kind_of
from headway.core.value_replay import ValueReplay
from headway.dashboard.access.sessions import Role
from headway.dashboard.app import link
from headway.dashboard.page import Action, BadInput, Call, Page, Redirect, Rendered, Reply, View
from headway.data.settings.data import DataSection
from headway.monitoring.feature_status import last_of_release, live_views
from headway.registry.project import Project
from headway.reporting.text.feature_tables import (
    REPLAY_STATUS,
    feature_sentences,
    format_time_us,
    replay_remarks,
    tabulate_features,
    tabulate_replayed,
    tabulate_skews,
)
from headway.reporting.text.formatting import format_interval, format_number, format_value
from headway.reporting.text.tables import Cell, Line, Table, make_table, text_cell

if TYPE_CHECKING:
    from headway.dashboard.work import data as data_work
    from headway.dashboard.work import data_report as data_report_work
else:  # only the process for heavy work imports them
    data_work = LateModule("headway.dashboard.work.data")
    data_report_work = LateModule("headway.dashboard.work.data_report")

Result = TypeVar("Result")
CHECKS, CHARTS, CONTRACT = "/models/{model}/data", "/models/{model}/data/charts", "/models/{model}/data/contract"
QUARANTINE, DRIFT, USE = "/models/{model}/data/quarantine", "/models/{model}/data/drift", "/models/{model}/data/use"
FEATURES = "/models/{model}/data/features"
N_ROWS = 50
N_REPORTS, MAX_SCANNED = 3, 20
DRIFT_MEASURES = {"drift.p": "p-value", "drift.distance": "Distance, 0 to 1", "cost": "Estimated cost per row"}
DECISIONS: dict[str, Decision] = {"released": "released", "discarded": "discarded"}
SEES_ROWS: Role = "operator"
"""Role from which a person sees values of rows: quarantine, and the words of findings, which quote them."""


def _last(project: Project, *kinds: type[StoredRecord]) -> tuple[str, ...]:
    """Return the digest of the last record of each class: what is computed from them is kept under these."""
    contents = (project.state.latest(kind_of(kind), name=project.name) for kind in kinds)
    return tuple(digest_of(content) if content else "" for content in contents)


def _computed(call: Call, function: Callable[..., Result], *depends_on: object) -> Result:
    """Return what a function of `work` computes for this project and this person's rights on rows."""
    config, rows = call.project.config, call.session.may(SEES_ROWS)
    key = function, call.project.name, rows, *depends_on
    return call.dashboard.cache.get(key, lambda: call.dashboard.workers.run(function, config, rows=rows))


def _checks(call: Call) -> Reply:
    found = _computed(call, data_work.show_checks, *_last(call.project, Assessment))
    last = call.project.latest(Assessment)
    return Rendered(template="data.html", values={"found": found, "last": last})


def _check_now(call: Call) -> Reply:
    done = call.dashboard.long_work.run(data_work.check_now, call.project.config, call.session.user)
    return Redirect(path=link(CHECKS, model=call.project.name), message=f"Checked: {done}.")


def _charts(call: Call) -> Reply:
    charts = _computed(call, data_report_work.show_charts, *_last(call.project, Assessment))
    return Rendered(template="data_charts.html", values={"charts": charts})


def _contract(call: Call) -> Reply:
    config = call.project.config
    path = config.path(config[DataSection].contract)
    found = _computed(call, data_work.show_contract, _content(path), *_last(call.project, Assessment))
    return Rendered(template="data_contract.html", values={"found": found})


def _content(path: Path) -> str:
    return digest_of(path.read_bytes()) if path.is_file() else ""


def _use(call: Call) -> Reply:
    config = call.project.config
    live = call.project.state.last(call.project.name, "live")
    settings = _content(Path(config.folder) / "headway.toml")
    erased = call.project.state.latest("erasure_proof", name=call.project.name)
    depends_on = settings, live and digest_of(live.content), erased and digest_of(erased)
    found = _computed(call, data_report_work.show_data_use, *depends_on, *_last(call.project, Assessment))
    return Rendered(template="data_use.html", values={"found": found})


def _drift(call: Call) -> Reply:
    reports = [saved.record for saved in call.project.recent(MonitoringReport, limit=MAX_SCANNED)]
    shown = [report for report in reports if report.is_complete][:N_REPORTS] or reports[:1]
    tables = [(report, _drift_table(report)) for report in shown]
    return Rendered(template="data_drift.html", values={"reports": tables, "rows": call.session.may(SEES_ROWS)})


def _drift_table(report: MonitoringReport) -> Table:
    """Tabulate the drift of each column, the strongest evidence first; a measure that no column has is left out."""
    found: dict[str, dict[str, Measurement]] = {}
    measured: Sequence[Measurement] = report.drift.measurements if report.drift else ()
    for one in measured:
        if one.slice:
            found.setdefault(one.slice, {})[one.name] = one
    for one in report.drift_costs:
        if one.slice:
            found.setdefault(one.slice, {})["cost"] = one
    ordered = sorted(found.items(), key=lambda named: named[1]["drift.p"].value if "drift.p" in named[1] else 2.0)
    known = [name for name in DRIFT_MEASURES if any(name in measures for _, measures in ordered)]
    rows = (
        (
            text_cell(column, "strong"),
            *(_drift_cell(name, measures.get(name)) for name in known),
            text_cell(f"{max(one.n_rows for one in measures.values()):,}"),
        )
        for column, measures in ordered
    )
    return make_table(("Column", *(DRIFT_MEASURES[name] for name in known), "Rows"), rows)


def _drift_cell(name: str, found: Measurement | None) -> Cell:
    if found is None:
        return text_cell("not known", "quiet")
    if name == "drift.p":
        return text_cell(format_number(found.value))
    interval = format_interval(found)
    line = Line(text=format_value(found).removesuffix(f" {found.unit}"))
    return (line, Line(text=interval, style="quiet")) if interval else (line,)


def _features(call: Call) -> Reply:
    project, rows = call.project, call.session.may(SEES_ROWS)
    release, views = live_views(project)
    replay = last_of_release(project, ValueReplay, release)
    report = last_of_release(project, FeatureReport, release)
    values: dict[str, object] = {"views": views, "is_live": bool(release), "rows": rows}
    values |= {"replay": replay, "report": report, "status": REPLAY_STATUS[replay.status if replay else "unknown"]}
    if replay:
        values |= {
            "since": format_time_us(replay.since_us),
            "until": format_time_us(replay.until_us),
            "remarks": replay_remarks(replay, report),
            "skews": tabulate_skews(replay, report, examples=rows),
            "compared": tabulate_replayed(replay),
        }
    if report:
        values |= {"features": tabulate_features(report), "report_sentences": feature_sentences(report)}
    return Rendered(template="data_features.html", values=values)


def _quarantine(call: Call) -> Reply:
    project = call.project
    files, aside = call.dashboard.workers.run(data_work.read_quarantine_files, project.config)
    decided = project.recent(RowDecision, limit=10)
    return Rendered(template="data_quarantine.html", values={"files": files, "aside": aside, "decided": decided})


def _file(call: Call) -> Reply:
    start = _number(call.query.get("from", "0"))
    file = call.path["file"]
    n_rows, rows = call.dashboard.workers.run(data_work.read_quarantine, call.project.config, file, start, N_ROWS)
    values = {"file": file, "rows": rows, "n_rows": n_rows, "start": start, "size": N_ROWS}
    return Rendered(template="data_quarantine_file.html", values=values)


def _number(text: str) -> int:
    if not (text.isdecimal() and len(text) < 19):
        raise BadInput(f"{text!r} is not a number of a row", hint="open the page again")
    return int(text)


def _decide(call: Call) -> Reply:
    project, file, reason = call.project, call.path["file"], call.reason()
    decision = DECISIONS.get(call.form.get("decision", ""))
    if decision is None:
        raise BadInput("the form names no decision", hint="press Release or Discard")
    rows = [] if call.form.get("all") else [_number(text) for text in call.lists.get("row", ())]
    if not rows and not call.form.get("all"):
        raise BadInput("no row is chosen", hint="tick rows, or all rows of the file")
    count = call.dashboard.workers.run(
        data_work.end_quarantine, project.config, file, rows, decision, who=call.session.user, why=reason
    )
    message = f"{count:,} {'row is' if count == 1 else 'rows are'} {decision}."
    return Redirect(path=link(QUARANTINE, model=project.name), message=message)


def _import_aside(call: Call) -> Reply:
    reason = call.reason()
    done, failed = call.dashboard.workers.run(data_work.import_aside, call.project.config)
    written = "1 batch is" if done == 1 else f"{done:,} batches are"
    outcome = f"{written} in the log" + (f", {failed:,} cannot be read or written" if failed else "")
    call.save_action("quarantine.imported", reason=reason, outcome=outcome)
    return Redirect(path=link(QUARANTINE, model=call.project.name), message=f"{outcome}.")


plugin = Page(
    tab="Data",
    order=50,
    views=[
        View(CHECKS, _checks),
        View(CHARTS, _charts),
        View(CONTRACT, _contract),
        View(QUARANTINE, _quarantine, role=SEES_ROWS),
        View(f"{QUARANTINE}/{{file}}", _file, role=SEES_ROWS),
        View(DRIFT, _drift),
        View(FEATURES, _features),
        View(USE, _use),
    ],
    actions=[
        Action(CHECKS, _check_now),
        Action(f"{QUARANTINE}/{{file}}", _decide, role=SEES_ROWS),
        Action(f"{QUARANTINE}-log", _import_aside),
    ],
)
