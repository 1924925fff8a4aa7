"""The record for programs: CycloneDX by its schema, OSCAL by the library of its makers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from tests.house.environments import create
from tests.security.record.recorded import DECLARED, recorded_project, write

from headway.core.compliance import ComplianceRecord
from headway.core.record import read

SCRIPT = """
import sys
from pathlib import Path
from trestle.oscal.assessment_results import Model
results = Model.model_validate_json(Path(sys.argv[1]).read_text()).assessment_results.results[0]
print(len(results.observations), len(results.findings or []))
"""


@pytest.fixture(params=["", DECLARED], ids=["nothing declared", "declared"])
def folder(tmp_path, request):
    """The folder of a record."""
    project = recorded_project(tmp_path / "project", declared=request.param)
    write(project, tmp_path / "record")
    project.state.close()
    return tmp_path / "record"


def test_the_bill_of_materials_is_valid_cyclonedx(folder):
    text = (folder / "bom.cdx.json").read_text()

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    card = json.loads(text)["metadata"]["component"]["modelCard"]
    auc = next(one for one in card["quantitativeAnalysis"]["performanceMetrics"] if one["type"] == "roc_auc")
    assert (auc["value"], auc["confidenceInterval"]) == ("0.741", {"lowerBound": "0.731", "upperBound": "0.751"})
    traced = [one["value"] for one in card["properties"] if one["name"] == "headway:trace"]
    assert len(traced) == len(card["quantitativeAnalysis"]["performanceMetrics"])
    assert all("#/record/evidence/0/measurements/" in line for line in traced)


def test_a_gap_is_a_finding_and_no_point_is_called_satisfied(folder):
    found = read(ComplianceRecord, (folder / "record.json").read_bytes())
    (result,) = json.loads((folder / "assessment-results.oscal.json").read_text())["assessment-results"]["results"]

    assert {one["target"]["target-id"] for one in result["findings"]} == {one.id for one in found.missing}
    assert {one["target"]["status"]["state"] for one in result["findings"]} == {"not-satisfied"}
    assert len(result["observations"]) == len(found.figures) + len(found.facts) - gap_facts(found)


def gap_facts(found: ComplianceRecord) -> int:
    """Return how many texts are reasons of gaps alone."""
    shown = {fact for point in found.points for fact in point.facts}
    return len(set(found.facts) - shown)


@pytest.mark.services
def test_the_library_of_oscal_reads_the_assessment_results(folder, tmp_path_factory):
    home = create(tmp_path_factory.mktemp("oscal"), "compliance-trestle==5.2.0")
    path: Path = folder / "assessment-results.oscal.json"
    ended = home.run("python", "-c", SCRIPT, path)
    assert ended.returncode == 0, ended.stderr
    read_by = ended.stdout.split()

    (result,) = json.loads(path.read_text())["assessment-results"]["results"]
    assert read_by == [str(len(result["observations"])), str(len(result["findings"]))]
