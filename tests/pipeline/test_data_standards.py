"""The Croissant card and the lineage, read by the libraries of those who made the standards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.data.dvc_folders import begun, put
from tests.house.environments import Environment, create
from tests.pipeline.projects import TOML, table, write
from tests.pipeline.test_dvc_project import lock_of

from headway import pipeline
from headway.cli.commands import data as data_command
from headway.registry.project import open_project
from headway.registry.provenance.lineage import events

pytestmark = pytest.mark.long

OF_CROISSANT = """
import json, sys, warnings
import mlcroissant
dataset = mlcroissant.Dataset(jsonld=sys.argv[1])
issues = dataset.metadata.ctx.issues
rows = [list(map(str, row.values())) for row, _ in zip(dataset.records("rows"), range(3))]
print(json.dumps({"errors": list(issues.errors), "warnings": list(issues.warnings), "rows": rows}))
"""
OF_OPENLINEAGE = """
import json, sys
from openlineage.client.event_v2 import InputDataset, Job, JobEvent, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import datasource_dataset, dataset_version_dataset, schema_dataset, source_code_job
from openlineage.client.serde import Serde
KINDS = {
    "version": dataset_version_dataset.DatasetVersionDatasetFacet,
    "dataSource": datasource_dataset.DatasourceDatasetFacet,
    "schema": schema_dataset.SchemaDatasetFacet,
    "sourceCode": source_code_job.SourceCodeJobFacet,
}
def facet(name, body):
    found = dict(body)
    urls = found.pop("_producer"), found.pop("_schemaURL")
    if name == "schema":
        found["fields"] = [schema_dataset.SchemaDatasetFacetFields(**field) for field in found["fields"]]
    made = KINDS[name](**found, producer=urls[0])
    assert made._schemaURL == urls[1], (made._schemaURL, urls[1])
    return made
def dataset(kind, body):
    facets = {name: facet(name, each) for name, each in body["facets"].items()}
    return kind(namespace=body["namespace"], name=body["name"], facets=facets)
for line in open(sys.argv[1]):
    told = json.loads(line)
    common = dict(
        eventTime=told["eventTime"], producer=told["producer"], job=dataset(Job, told["job"]),
        inputs=[dataset(InputDataset, each) for each in told["inputs"]],
        outputs=[dataset(OutputDataset, each) for each in told["outputs"]],
    )
    if "run" in told:
        event = RunEvent(eventType=RunState[told["eventType"]], run=Run(runId=told["run"]["runId"]), **common)
    else:
        event = JobEvent(**common)
    again = json.loads(Serde.to_json(event))
    assert again["schemaURL"] == told["schemaURL"]
    for side in ("inputs", "outputs"):
        names = [(each["name"], sorted(each["facets"])) for each in told[side]]
        assert [(each["name"], sorted(each["facets"])) for each in again[side]] == names, (again[side], told[side])
print("as it is")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with both, which are too heavy for those who only work on headway."""
    home = create(tmp_path_factory.mktemp("standards"), "mlcroissant[parquet]==1.1.1")
    pip = [sys.executable, "-m", "pip", "--python", str(home.folder / "venv"), "install", "--quiet", "--no-input"]
    subprocess.run([*pip, "openlineage-python==1.54.0"], check=True)
    return home


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_mlcroissant_finds_no_fault_in_the_card_and_reads_the_rows_by_it(place: Environment, suffix: str):
    about = '[provenance]\ncreator = "Ada"\nlicense = "CC0-1.0"\nurl = "https://example.org"\ndescription = "Rows."\n'
    about += 'published = "2024-03-31"\ncite_as = "Flights, 2013"\nmade_from = ["the airport"]\n'
    folder = place.folder / suffix
    folder.mkdir()
    write(folder, TOML.replace("table.parquet", f"table.{suffix}") + about)
    table().write_csv(folder / "table.csv")
    put(folder / "dvc.lock", lock_of(folder / f"table.{suffix}"))
    data_command.plugin("card", out=folder / "card.json", project=folder)

    told = json.loads(_asked(place, OF_CROISSANT, folder / "card.json"))

    assert (told["errors"], told["warnings"]) == ([], [])
    assert "python join.py" in (folder / "card.json").read_text()
    assert len(told["rows"]) == 3 and "2013-01-01" in told["rows"][0][0]


def test_openlineage_makes_the_same_events_of_the_same_facts(place: Environment, tmp_path: Path):
    folder = write(begun(tmp_path))
    put(folder / "dvc.lock", lock_of(folder / "table.parquet"))
    project = open_project(folder)
    data = pipeline.periods(project)
    pipeline.release(project, pipeline.optimize(project, pipeline.train(project, data), data), who="ada")
    (place.folder / "events.jsonl").write_text("\n".join(map(json.dumps, events(project))))

    assert _asked(place, OF_OPENLINEAGE, place.folder / "events.jsonl").strip() == "as it is"


def _asked(place: Environment, code: str, file: Path) -> str:
    (place.folder / "ask.py").write_text(code)
    ended = place.run("python", "ask.py", file)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
