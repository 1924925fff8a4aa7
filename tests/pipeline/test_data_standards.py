"""The Croissant card and the lineage, read by the reference libraries of the standards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.data.dvc_folders import dvc_init, write_file
from tests.house.environments import Environment, create
from tests.pipeline.projects import TOML, table, write
from tests.pipeline.test_dvc_project import lock_of

from headway import pipeline
from headway.cli.commands import data as data_command
from headway.registry.project import open_project
from headway.registry.provenance.lineage import events

pytestmark = pytest.mark.long

CROISSANT_SCRIPT = """
import json, sys, warnings
import mlcroissant
dataset = mlcroissant.Dataset(jsonld=sys.argv[1])
issues = dataset.metadata.ctx.issues
rows = [list(map(str, row.values())) for row, _ in zip(dataset.records("rows"), range(3))]
print(json.dumps({"errors": list(issues.errors), "warnings": list(issues.warnings), "rows": rows}))
"""
OPENLINEAGE_SCRIPT = """
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
    facets = {name: facet(name, value) for name, value in body["facets"].items()}
    return kind(namespace=body["namespace"], name=body["name"], facets=facets)
for line in open(sys.argv[1]):
    sent = json.loads(line)
    common = dict(
        eventTime=sent["eventTime"], producer=sent["producer"], job=dataset(Job, sent["job"]),
        inputs=[dataset(InputDataset, body) for body in sent["inputs"]],
        outputs=[dataset(OutputDataset, body) for body in sent["outputs"]],
    )
    if "run" in sent:
        event = RunEvent(eventType=RunState[sent["eventType"]], run=Run(runId=sent["run"]["runId"]), **common)
    else:
        event = JobEvent(**common)
    again = json.loads(Serde.to_json(event))
    assert again["schemaURL"] == sent["schemaURL"]
    for ports in ("inputs", "outputs"):
        names = [(body["name"], sorted(body["facets"])) for body in sent[ports]]
        assert [(body["name"], sorted(body["facets"])) for body in again[ports]] == names, (again[ports], sent[ports])
print("unchanged")
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Create an environment with both libraries, which are too large for the development install."""
    home = create(tmp_path_factory.mktemp("standards"), "mlcroissant[parquet]==1.1.1")
    pip = [sys.executable, "-m", "pip", "--python", str(home.folder / "venv"), "install", "--quiet", "--no-input"]
    subprocess.run([*pip, "openlineage-python==1.54.0"], check=True)
    return home


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_mlcroissant_accepts_the_card_and_reads_the_rows_with_it(environment: Environment, suffix: str):
    about = '[provenance]\ncreator = "Ada"\nlicense = "CC0-1.0"\nurl = "https://example.org"\ndescription = "Rows."\n'
    about += 'published = "2024-03-31"\ncite_as = "Flights, 2013"\nmade_from = ["the airport"]\n'
    folder = environment.folder / suffix
    folder.mkdir()
    write(folder, TOML.replace("table.parquet", f"table.{suffix}") + about)
    table().write_csv(folder / "table.csv")
    write_file(folder / "dvc.lock", lock_of(folder / f"table.{suffix}"))
    data_command.plugin("card", out=folder / "card.json", project=folder)

    result = json.loads(_run(environment, CROISSANT_SCRIPT, folder / "card.json"))

    assert (result["errors"], result["warnings"]) == ([], [])
    assert "python join.py" in (folder / "card.json").read_text()
    assert len(result["rows"]) == 3 and "2013-01-01" in result["rows"][0][0]


def test_openlineage_builds_the_same_events_from_the_same_facts(environment: Environment, tmp_path: Path):
    folder = write(dvc_init(tmp_path))
    write_file(folder / "dvc.lock", lock_of(folder / "table.parquet"))
    project = open_project(folder)
    data = pipeline.periods(project)
    pipeline.release(project, pipeline.optimize(project, pipeline.train(project, data), data), who="ada")
    (environment.folder / "events.jsonl").write_text("\n".join(map(json.dumps, events(project))))

    assert _run(environment, OPENLINEAGE_SCRIPT, environment.folder / "events.jsonl").strip() == "unchanged"


def _run(environment: Environment, code: str, file: Path) -> str:
    (environment.folder / "ask.py").write_text(code)
    ended = environment.run("python", "ask.py", file)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
