"""A deployed release: verified and opened, with what it was trained and judged on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from headway.core.arrays import Floats
from headway.core.contracts import Engine
from headway.core.errors import ConfigError, StoreError
from headway.core.monitoring import Ticket
from headway.core.plugins import load_engine
from headway.core.record import read
from headway.core.release import Release
from headway.core.training import Training
from headway.data.settings.data import DataSection
from headway.evaluation.calibration.apply import calibration_function
from headway.registry.project import Project


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeployedRelease:
    """The release of a pointer, its digest, its model, and its training.

    `scores` names the column of the scores of another system, of which headway has no model.
    """

    release: Release
    digest: str
    model: Engine
    training: Training
    scores: str = ""

    def predict(self, rows: Floats) -> Floats:
        """Return calibrated predictions, float64 [n, k], for rows float64 [n, d]."""
        return calibration_function(self.release.calibrator)(self.model.predict(rows))

    @property
    def trained_until(self) -> datetime:
        """End of the training data: only later rows are out of sample."""
        return datetime.fromisoformat(self.training.until)

    @property
    def judged(self) -> tuple[datetime, datetime]:
        """Period that the release was judged on, [since, until)."""
        return datetime.fromisoformat(self.training.judged_since), datetime.fromisoformat(self.training.judged_until)


def open_deployed_release(project: Project, pointer: str = "live", *, for_log: bool = False) -> DeployedRelease:
    """Open the release of a pointer; raises StoreError if there is none, Refused if it does not verify.

    `for_log` also opens a release whose training is not in the store, such as that of a search in Python: its log is
    monitored from its release on, and what needs the rows that it was judged on cannot be judged.
    """
    bundle = project.registry.resolve(f"{project.name}@{pointer}")
    variant = bundle.release.variant
    return DeployedRelease(
        release=bundle.release,
        digest=bundle.digest,
        model=load_engine(variant.engine)(bundle.model, variant.settings),
        training=last_training(project, bundle.release) or _unknown_training(project, bundle.release, for_log=for_log),
    )


def pending_ticket(project: Project, deployed: DeployedRelease) -> Ticket | None:
    """Return the open ticket: the last one, if it has reasons and its release is still deployed."""
    content = project.state.latest("ticket", name=project.name)
    ticket = read(Ticket, content) if content else None
    return ticket if ticket and ticket.is_open(deployed.digest) else None


def last_training(project: Project, release: Release) -> Training | None:
    """Return the last training on the rows that the release names; for a model fitted elsewhere, its evaluation."""
    trainings = reversed(project.records(Training))
    rows = release.data.get("train") or release.data.get("test")
    return next((training for training in trainings if training.dataset == rows), None)


def _unknown_training(project: Project, release: Release, *, for_log: bool) -> Training:
    """Return what stands for a training that is not in the store: nothing before the release is known."""
    if not for_log and project.config[DataSection].source and not project.config[DataSection].time:
        raise ConfigError(
            "without a time column, rows after the release are not known",
            where="[data] time",
            hint='time = "COLUMN", then headway optimize and headway release; for logged answers: '
            "headway watch --source log",
        )
    if not for_log:
        raise StoreError(
            "the training of the live release is not in the store",
            where=str(project.config.state),
            hint="headway optimize; for a release made in Python: headway watch --source log, or time= in optimize",
        )
    made_at = datetime.fromisoformat(release.made_at).astimezone(UTC).replace(tzinfo=None).isoformat()
    return Training(
        dataset="",
        recipe="",
        model=release.variant,
        since=made_at,
        until=made_at,
        judged_since=made_at,
        judged_until=made_at,
        n_rows=0,
        seconds=0.0,
    )
