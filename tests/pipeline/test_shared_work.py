"""Work that other processes do gives the numbers of this one to the bit, and the private key is never sent."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace as replaced
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.batch.packed_workers import PackedWorkers, use
from tests.batch.scoring import LIVE, scoring_project
from tests.batch.test_folder import files_of, write_parts
from tests.pipeline.shared_work import AUDITS, KEY, audited, exact, on_ray, searched, secrets_of

from headway import pipeline
from headway.batch.settings.compute import ComputeSection
from headway.core.errors import Refused
from headway.core.training import Training
from headway.registry.project import open_project

pytestmark = pytest.mark.slow


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> PackedWorkers:
    found = PackedWorkers()
    use(monkeypatch, found)
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory):
    return searched(tmp_path_factory.mktemp("small"))


def expect_no_key(workers: PackedWorkers, folder: Path) -> None:
    """Check that something was sent, and no form of the private key in it."""
    assert workers.sent
    assert not [secret for secret in secrets_of(folder) for content in workers.sent if secret in content]


def test_audits_give_the_same_numbers(small, workers):
    project, result, data = small
    here = audited(project, result, data)
    assert not workers.sent
    assert audited(on_ray(project), result, data) == here
    assert {found.name.partition(".")[0] for found in here} == set(AUDITS)
    assert {found.name for found in here} >= {"ablation.trainings", "imbalance.cost.drop"}
    expect_no_key(workers, Path(project.config.folder))


def test_variants_are_measured_alone_with_the_same_numbers(small, workers):
    project, here, data = small
    there = pipeline.optimize(on_ray(project), here.baseline, data)
    assert set(workers.alone) == {True}
    evaluated = {row.variant.digest: row for row in there.evaluated if row.variant.steps}
    assert evaluated
    for row in here.evaluated:
        if row.variant.digest in evaluated:
            assert exact(row.evidence) == exact(evaluated[row.variant.digest].evidence)
    expect_no_key(workers, Path(project.config.folder))


CHANGES = {
    "another machine": lambda evidence: replace(evidence, machine=replace(evidence.machine, cores=999)),
    "another number": lambda evidence: replace(
        evidence,
        measurements=tuple(
            replace(found, value=math.nextafter(found.value, 9.0)) if found.name == "roc_auc.drop" else found
            for found in evidence.measurements
        ),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_evidence_of_workers_on_something_else_is_refused(change, small, monkeypatch):
    project, here, data = small
    use(monkeypatch, PackedWorkers(change))
    with pytest.raises(Refused, match="a worker"):
        pipeline.optimize(on_ray(project), here.baseline, data)


def test_a_retraining_gives_the_same_models(ticket_folder, tmp_path, workers):
    folders = {name: shutil.copytree(ticket_folder, tmp_path / name) for name in ("here", "there")}
    projects = {name: open_project(folder) for name, folder in folders.items()}
    projects["there"] = on_ray(projects["there"])
    found = {name: pipeline.retrain(project) for name, project in projects.items()}
    assert len(workers.sent) == found["here"].trainings == 3
    made = {name: [(one.seed, one.model) for one in project.records(Training)] for name, project in projects.items()}
    assert made["here"] == made["there"]
    evidence = {name: exact(retraining.search_result.winner.evidence) for name, retraining in found.items()}
    assert evidence["here"] == evidence["there"]
    expect_no_key(workers, folders["there"])


def test_a_retraining_saves_nothing_that_a_worker_changed(ticket_folder, tmp_path, monkeypatch):
    use(monkeypatch, PackedWorkers(lambda model: replaced(model, content=b"other")))
    project = on_ray(open_project(shutil.copytree(ticket_folder, tmp_path / "there")))
    before = len(project.records(Training))
    with pytest.raises(Refused, match="differs from that of the same task"):
        pipeline.retrain(project)
    assert len(project.records(Training)) == before


def test_a_training_function_that_differs_on_a_worker_is_refused(small, monkeypatch):
    project, result, data = small
    file = Path(project.config.folder, "mine.py")
    text = file.read_text()

    class Elsewhere(PackedWorkers):
        def map(self, *arguments, **options):
            file.write_text(text + "\n")
            return super().map(*arguments, **options)

    use(monkeypatch, Elsewhere())
    try:
        audited = pipeline.audit_winner(on_ray(project), result, data, audits=("ablation",))
        (refused,) = [found for found in audited.winner.evidence.findings if found.plugin == "ablation"]
        assert refused.severity == "undecided" and "not that of the driver: mine:train" in refused.message
    finally:
        file.write_text(text)


def test_scoring_a_folder_sends_no_key(tmp_path, workers):
    settings = scoring_project(tmp_path)
    rows = write_parts(tmp_path / "rows")
    settings = settings.having(ComputeSection(ray="auto"))
    pipeline.predict(settings, LIVE, rows, tmp_path / "out")
    assert files_of(tmp_path / "out") and (tmp_path / KEY).exists()
    expect_no_key(workers, tmp_path)
