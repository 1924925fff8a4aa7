"""What the export to MLflow records of a release: metrics, tags, artifacts, and the header of the model."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.pipeline import projects
from tests.registry import releases

from headway.core.calibrator import Calibrator
from headway.core.errors import StoreError
from headway.core.evidence import Evidence, Machine, Measurement
from headway.core.record import digest_of
from headway.core.release import PointerUpdate
from headway.core.variant import Artifact, Field, Signature
from headway.core.verdict import Rule, RuleResult
from headway.deployment.mlflow import export, metrics, pointer_tags, release_run
from headway.registry.bundle import Bundle
from headway.registry.project import open_project

MACHINE = Machine(cpu="none", cores=2, system="Linux", python="3.13")


def measured(name: str, value: float = 0.9, *, slice: str = "") -> Measurement:
    return Measurement(name=name, value=value, low=value - 0.1, high=value + 0.1, method="m", n_rows=9, slice=slice)


def evidence(*measurements: Measurement) -> Evidence:
    return Evidence(subject="v", dataset="d", period="test", machine=MACHINE, measurements=measurements)


def opened(folder: Path, **changed: object) -> Bundle:
    """A signed release of a LightGBM model that reads one number, with these fields changed."""
    made = releases.release()
    artifact = Artifact(format="lightgbm", digest=digest_of(b"tree"), size_bytes=4)
    variant = replace(made.variant, artifact=artifact, engine="lightgbm")
    registry = releases.register(folder)
    digest = registry.publish(replace(made, **{"variant": variant, **changed}), {"model.lightgbm": b"tree"})
    return registry.resolve(f"flights@{digest}")


def header(bundle: Bundle) -> dict:
    return json.loads(release_run(bundle).files["model/MLmodel"])


def test_a_measurement_is_a_metric_with_both_ends_of_its_interval():
    found = dict(metrics([evidence(measured("roc_auc"), measured("brier", slice="carrier=A/B"))]))
    assert found["test/roc_auc"] == 0.9
    assert found["test/roc_auc.low"] == pytest.approx(0.8) and found["test/roc_auc.high"] == pytest.approx(1.0)
    assert "test/brier/carrier_A_B" in found and len(found) == 6
    unknown = replace(measured("ratio"), low=0.0, high=sys.float_info.max)
    assert dict(metrics([evidence(unknown)])) == {"test/ratio": 0.9}


def test_names_that_mlflow_would_confuse_get_a_number_and_no_metric_is_infinite():
    found = dict(metrics([evidence(measured("brier", slice="a=1"), measured("brier", slice="a:1"))]))
    assert {"test/brier/a_1", "test/brier/a_1_2"} <= found.keys()
    assert dict(metrics([evidence(measured("ratio", math.inf), measured("ratio", math.nan))])) == {}
    assert max(map(len, dict(metrics([evidence(measured("brier", slice="é" * 400))])))) < 250


def test_the_run_holds_the_signed_release_its_evidence_verdict_and_policy(tmp_path):
    rule = Rule(measure="brier.drop", at_most=0.1)
    verdict = replace(
        releases.release().verdict, rule_results=(RuleResult(rule=rule, answer="pass", message="it is less"),)
    )
    bundle = opened(tmp_path, verdict=verdict, evidence=(evidence(measured("roc_auc")),), data={"test": "sha256:7"})
    run = release_run(bundle)
    assert run.tags["headway.release"] == bundle.digest and run.tags["headway.data.test"] == "sha256:7"
    assert run.tags["headway.verdict"] == "pass" and run.tags["headway.key"] == bundle.key
    assert digest_of(run.files["model/release/release.json"]) == bundle.digest
    assert run.files["model/release/model.lightgbm"] == b"tree" and run.files["model/release/release.sig"]
    assert json.loads(run.files["policy.json"])["rules"] == [
        {"measure": "brier.drop", "at_most": 0.1, "at_least": None}
    ]
    assert b"roc_auc" in run.files["evidence/0_test.json"] and b"it is less" in run.files["verdict.json"]


def test_an_override_is_tagged_as_one_and_a_move_with_who_and_why(tmp_path):
    verdict = replace(releases.release().verdict, by="ada", why="the storm days")
    tags = release_run(opened(tmp_path, verdict=verdict)).tags
    assert (tags["headway.verdict"], tags["headway.verdict.by"]) == ("override", "ada")
    move = PointerUpdate(
        name="flights", pointer="live", number=3, release="r", previous="", at="now", who="ben", why="x" * 9999
    )
    assert pointer_tags(move)["headway.live.who"] == "ben" and pointer_tags(move)["headway.live.number"] == "3"
    assert len(pointer_tags(move)["headway.live.why"]) == 1000


def test_a_flavour_of_mlflow_is_listed_only_where_the_bytes_answer_as_the_release(tmp_path):
    plain = header(opened(tmp_path / "plain"))
    assert plain["flavors"]["lightgbm"]["data"] == "model.lightgbm" and "python_function" in plain["flavors"]
    assert json.loads(plain["signature"]["inputs"]) == [{"name": "x", "type": "double", "required": True}]

    shifted = header(opened(tmp_path / "shifted", calibrator=Calibrator(shift=0.5)))
    assert list(shifted["flavors"]) == ["headway"]

    artifact = Artifact(format="lightgbm", digest=digest_of(b"tree"), size_bytes=4)
    words = Signature(inputs=(Field(name="carrier", datatype="BYTES", categories=("AA",)),))
    variant = replace(releases.release().variant, artifact=artifact, signature=words)
    named = header(opened(tmp_path / "words", variant=variant))
    assert list(named["flavors"]) == ["headway"]
    assert json.loads(named["signature"]["inputs"])[0]["type"] == "string"


def test_a_project_without_a_release_has_nothing_to_export(tmp_path):
    projects.write(tmp_path)
    with pytest.raises(StoreError, match="nothing was released yet"):
        export(open_project(tmp_path))
