"""A contract that is held to data leaves evidence: of which contract, on which bytes, what was found."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.pipeline.projects import write

from headway.cli.commands import contract
from headway.core.evidence import Evidence
from headway.core.record import digest_of
from headway.data.contract.check import discover_project_contract
from headway.registry.project import Project, open_project


@pytest.fixture
def project(tmp_path) -> Project:
    """A project with a contract that its table meets."""
    opened = open_project(write(tmp_path))
    discover_project_contract(opened.config)
    return opened


def saved(project: Project) -> list[Evidence]:
    return project.records(Evidence)


def check(project: Project, file: str = "") -> None:
    contract.plugin("check", file, project=Path(project.config.folder))


@pytest.mark.slow
def test_findings_are_saved_with_the_contract_and_the_dataset(project):
    check(project)
    (found,) = saved(project)

    assert found.subject == digest_of(project.config.path("contract.toml").read_bytes())
    assert found.period == "contract" and found.dataset.startswith("sha256:") and found.at
    assert found.find("contract.failing").n_rows == 7200
    assert found.find("contract.failing").value < 0.01 < found.find("contract.rules").value


@pytest.mark.slow
def test_equal_findings_are_saved_once_and_another_contract_again(project):
    check(project)
    check(project)
    assert len(saved(project)) == 1
    path = project.config.path("contract.toml")
    path.write_text(path.read_text().replace("maximum = 26", "maximum = 12"))
    check(project)
    first, second = saved(project)

    assert first.subject != second.subject and first.dataset == second.dataset
    assert second.find("contract.failing").value > 0.3
    assert "above 12" in " ".join(finding.message for finding in second.findings)


@pytest.mark.slow
def test_a_file_is_identified_by_its_bytes(project, tmp_path):
    file = tmp_path / "more.parquet"
    pl.read_parquet(tmp_path / "table.parquet").head(100).write_parquet(file)
    check(project, str(file))

    assert saved(project)[0].dataset == digest_of(file.read_bytes())
