"""A project whose table DVC tracks, from its check to its card and lineage."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.dvc_folders import dvc_init, write_file
from tests.house.environments import Environment, create
from tests.pipeline.projects import TOML, table, write

from headway import pipeline
from headway.core.dataset import Dataset
from headway.data.dvc import file_md5
from headway.data.open import open_dataset
from headway.registry.project import open_project
from headway.registry.provenance.lineage import events
from headway.reporting.read_report_data import read_report_data
from headway.reporting.sections.origin import plugin as section

LOCK = """schema: '2.0'
stages:
  join:
    cmd: python join.py
    deps:
    - path: raw.json
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 3
    outs:
    - path: {}
      hash: md5
      md5: {}
      size: {}
"""


def lock_of(file: Path) -> str:
    """Return a `dvc.lock` that records how a table was made."""
    return LOCK.format(file.name, file_md5(file), file.stat().st_size)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with a search result, whose table DVC made."""
    created = write(dvc_init(tmp_path_factory.mktemp("dvc") / "small"))
    write_file(created / "dvc.lock", lock_of(created / "table.parquet"))
    project = open_project(created)
    data = pipeline.periods(project)
    pipeline.optimize(project, pipeline.train(project, data), data)
    return created


@pytest.mark.slow
def test_the_stored_versions_name_the_dvc_stage(run, folder):
    versions = json.loads(run("data", "list", "--project", folder, "--json")[1])["kept"]
    assert [version["tracked"][0]["stage"] for version in versions] == ["join"] * 3
    shown = " ".join(run("data", "list", "--project", folder)[1].split())
    assert "DVC: table.parquet" in shown


@pytest.mark.slow
def test_the_report_names_the_dvc_stage_of_the_table(folder):
    conclusions = section(read_report_data(open_project(folder))).conclusions
    [line] = [text for text in conclusions if text.startswith("DVC")]
    assert "by dvc.lock, made by its stage join. It was made by python join.py from raw.json." in line


@pytest.mark.slow
def test_lineage_begins_with_the_dvc_stage(folder):
    stage, *cuts = [event for event in events(open_project(folder)) if "eventType" not in event]
    assert stage["schemaURL"].endswith("/JobEvent") and stage["job"]["name"] == "small.dvc.join"
    assert stage["job"]["facets"]["sourceCode"]["sourceCode"] == "python join.py"
    assert [dataset["name"] for dataset in stage["inputs"]] == ["raw.json"]
    assert [cut["outputs"][0]["name"] for cut in cuts] == [
        f"small.data.{name}" for name in ("train", "validation", "test")
    ]
    assert all(cut["inputs"] == stage["outputs"] for cut in cuts)


@pytest.mark.slow
def test_the_card_names_the_dvc_stage_only_if_the_table_matches_its_record(run, folder, tmp_path):
    run("data", "card", "--project", folder, "--out", tmp_path / "card.json")
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["prov:wasDerivedFrom"] == ["raw.json"]
    assert card["prov:wasGeneratedBy"] == ["python join.py (DVC, stage join)"]

    other = write(dvc_init(tmp_path / "other"))
    write_file(other / "dvc.lock", LOCK.format("table.parquet", "0" * 32, 1))
    run("data", "card", "--project", other, "--out", tmp_path / "card.json")
    assert not {"prov:wasDerivedFrom", "prov:wasGeneratedBy"} & json.loads((tmp_path / "card.json").read_text()).keys()
    found = json.loads(run("check", "--project", other, "--json")[1])["findings"]
    assert [finding["severity"] for finding in found if finding["code"] == "D066"] == ["warn"]


@pytest.fixture(scope="module")
def dvc(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Return a function that runs `dvc` in a separate environment."""
    home: Environment = create(tmp_path_factory.mktemp("real"), "dvc==3.67.1")

    def run(*words: str, folder: Path) -> None:
        variables = {**home.variables, "PATH": f"{home.folder}/venv/bin{os.pathsep}{os.environ['PATH']}"}
        subprocess.run(["dvc", *words], cwd=folder, env={**variables, "DVC_NO_ANALYTICS": "1"}, check=True, timeout=300)

    return run


@pytest.mark.long
def test_records_of_the_real_dvc_are_read_and_its_commands_fix_a_mismatch(dvc, tmp_path):
    def opened(source: str) -> Dataset:
        (tmp_path / "headway.toml").write_text(TOML.replace("table.parquet", source))
        return open_dataset(open_project(tmp_path).config)

    dvc("init", "--no-scm", "-q", folder=tmp_path)
    rows = table()
    (tmp_path / "parts").mkdir()
    for number in range(2):
        rows.slice(number * 2000, 2000).write_parquet(tmp_path / f"parts/{number}.parquet")
    rows.write_parquet(tmp_path / "raw.parquet")
    dvc("add", "-q", "parts", folder=tmp_path)
    stages = (
        "stages:\n  copy:\n    cmd: cp raw.parquet table.parquet\n    deps: [raw.parquet]\n    outs: [table.parquet]\n"
    )
    (tmp_path / "dvc.yaml").write_text(stages)
    dvc("repro", "-q", folder=tmp_path)

    for source in ("parts", "parts.dvc", "parts/*.parquet", "table.parquet"):
        assert [origin.difference or origin.error for origin in opened(source).tracked] == [""] * (
            1 + (source[-1] == "t" and "*" in source)
        )
    assert (origin := opened("table.parquet").tracked[0]).stage == "copy" and origin.inputs[0].name == "raw.parquet"
    (tmp_path / "parts/1.parquet").unlink()
    assert opened("parts").tracked[0].missing
    dvc("checkout", "-q", "parts.dvc", folder=tmp_path)
    rows.head(3000).write_parquet(tmp_path / "table.parquet")
    assert opened("table.parquet").tracked[0].difference
    dvc("commit", "-f", "-q", "dvc.yaml:copy", folder=tmp_path)
    assert [opened(source).tracked[0].difference for source in ("parts", "table.parquet")] == ["", ""]
