"""On real flights, by the demo's policy: what is wrong on purpose is refused for what is wrong with it, by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest
from msgspec.structs import replace
from tests.pipeline.wrong_models import harmed, misrouted, rounded, sharpened

from headway import pipeline
from headway.cli import main as cli
from headway.cli.demo.run import FILES, HERE
from headway.core.search_result import Baseline, SearchResult
from headway.core.variant import Artifact, Step
from headway.core.verdict import EvaluatedVariant, Verdict
from headway.evaluation.comparison import EvaluationSet, build_evaluation_set
from headway.registry.project import Project, open_project

pytestmark = pytest.mark.slow
CARRIER = "B6"


@dataclass(frozen=True, slots=True)
class Flights:
    """The demo's project with a smaller model, and July and August as what variants of it are asked."""

    project: Project
    baseline: Baseline
    exam: EvaluationSet

    def text(self) -> str:
        return self.project.blobs.get(self.baseline.model.artifact.digest).decode()

    def judged(self, text: str) -> EvaluatedVariant:
        """The model with this text in place of its own, judged by the policy."""
        model = self.baseline.model
        digest = self.project.blobs.put(text.encode())
        artifact = Artifact(format=model.artifact.format, digest=digest, size_bytes=len(text))
        variant = replace(model, artifact=artifact, steps=(Step(transform="converted"),))
        return pipeline.evaluate(self.project, variant, self.exam)

    def won(self, judged: EvaluatedVariant) -> None:
        """Let this be the winner of the last search, as a search by a policy that asks for nothing would leave it."""
        self.project.save(
            SearchResult(
                name=self.project.name, baseline=self.baseline, judged=(judged,), winner=judged, at="2013-09-01"
            )
        )


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Flights:
    folder = tmp_path_factory.mktemp("flights")
    for name in FILES:
        shutil.copyfile(HERE / name, folder / name)
    recipe = (HERE / "train.py").read_text().replace("num_boost_round=300", "num_boost_round=50")
    (folder / "train.py").write_text(recipe.replace('"learning_rate": 0.03', '"learning_rate": 0.15'))
    project = open_project(folder)
    data = pipeline.periods(project)
    baseline = pipeline.train(project, data)
    return Flights(project, baseline, build_evaluation_set(baseline, data["test"], project.blobs))


def miscalibrated(flights: Flights) -> str:
    return sharpened(flights.text(), about=flights.baseline.threshold)


def with_a_broken_slice(flights: Flights) -> str:
    signature = flights.baseline.model.signature
    place = signature.names.index("carrier")
    return harmed(flights.text(), feature=place, code=signature.inputs[place].categories.index(CARRIER))


def with_missing_values_misrouted(flights: Flights) -> str:
    return misrouted(flights.text())


@pytest.mark.parametrize(
    ("wrong", "measure", "part"),
    [
        (miscalibrated, "probability_shift", ""),
        (with_a_broken_slice, "worst_slice.decision_churn", f"carrier={CARRIER}"),
        (with_missing_values_misrouted, "missing.decision_churn", "rows without "),
    ],
)
def test_a_wrong_variant_is_refused_for_what_is_wrong_with_it(
    run, flights: Flights, wrong: Callable[[Flights], str], measure: str, part: str
) -> None:
    flights.won(flights.judged(wrong(flights)))
    code, out, _ = run("gate", "--project", flights.project.config.folder, "--json")
    rule_results = {each.rule.measure: each for each in msgspec.json.decode(out, type=Verdict).rule_results}
    assert (code, rule_results[measure].answer) == (cli.FAIL, "fail")
    assert f"{measure.removeprefix('worst_slice.')} {f'of {part}' if part else 'is'}" in rule_results[measure].message


def test_calibration_alone_refuses_what_moves_no_rank_and_no_decision(flights: Flights) -> None:
    rule_results = flights.judged(miscalibrated(flights)).verdict.rule_results
    assert [each.rule.measure for each in rule_results if each.answer == "fail"] == ["probability_shift"]


def test_a_conversion_that_is_right_to_the_last_bits_is_not_refused(run, flights: Flights) -> None:
    text = rounded(flights.text())
    assert text != flights.text()
    flights.won(flights.judged(text))
    assert run("gate", "--project", flights.project.config.folder)[0] == cli.PASS
