"""Projects with rules of alerts, and the records that monitoring saves about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.monitoring import rollouts

from headway.core.evidence import Measurement
from headway.core.monitoring import Drift, MonitoringAnswer, MonitoringReport, MonitoringStatus, RowSource
from headway.registry.project import Project

START = datetime(2026, 1, 1)
DAY = timedelta(days=1)


def project(folder: Path, rules: str, *, more: str = "") -> Project:
    """A project with keys and these rules, and nothing released."""
    return rollouts.project(folder, toml=f"{rollouts.TOML}{more}\n{rules}")


def webhook(url: str, *, name: str = "ops", when: str = "", more: str = "") -> str:
    """A rule that posts to a URL; without `when` every condition."""
    watched = f"when = [{when}]\n" if when else ""
    return f'[[alert]]\nname = "{name}"\nto = "webhook"\n{watched}{more}settings = {{ url = "{url}" }}\n'


def report(
    release: str,
    status: MonitoringStatus,
    *,
    day: int = 0,
    source: RowSource = "log",
    alarm: bool = False,
    start: datetime = START,
) -> MonitoringReport:
    """A report on one day of a release, with labels unless it is unknown."""
    since = start + day * DAY
    shown = ("roc_auc.change",) if status == "degraded" else ()
    labels = () if status == "unknown" else (MonitoringAnswer(question="degradation", level=0.01, shown=shown),)
    p = Measurement(
        name="drift.p", value=0.001 if alarm else 0.6, low=0.0, high=1.0, n_rows=900, n_groups=30, method=""
    )
    return MonitoringReport(
        name="flights",
        release=release,
        period=f"{since:%Y-%m-%d}",
        since=since.isoformat(),
        until=(since + DAY).isoformat(),
        n_rows=900,
        n_labeled=900,
        status=status,
        message=f"{since:%Y-%m-%d} is {status}",
        drift=None if status == "unknown" else Drift(alarm=alarm, measurements=(p,)),
        answers=labels,
        source=source,
        at=datetime.now(UTC).isoformat(),
    )
