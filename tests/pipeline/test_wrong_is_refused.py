"""On real flights, the policy of the demo refuses each deliberately wrong model by the rule on its defect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest
from msgspec.structs import replace
from tests.pipeline.wrong_models import harmed, misrouted, rounded, sharpened

from headway import pipeline
from headway.cli import main as cli
from headway.cli.demo.run import HERE, open_demo
from headway.core.search_result import Baseline, SearchResult
from headway.core.variant import Artifact, Step
from headway.core.verdict import EvaluatedVariant, Verdict
from headway.evaluation.comparison import EvaluationSet, build_evaluation_set
from headway.registry.project import Project

pytestmark = pytest.mark.slow
CARRIER = "B6"


@dataclass(frozen=True, slots=True)
class Flights:
    """The demo's project with a smaller model, and an evaluation set of July and August."""

    project: Project
    baseline: Baseline
    evaluation_set: EvaluationSet

    def text(self) -> str:
        return self.project.blobs.get(self.baseline.model.artifact.digest).decode()

    def judged(self, text: str) -> EvaluatedVariant:
        """Return the variant with this model text, judged by the policy."""
        model = self.baseline.model
        digest = self.project.blobs.put(text.encode())
        artifact = Artifact(format=model.artifact.format, digest=digest, size_bytes=len(text))
        variant = replace(model, artifact=artifact, steps=(Step(transform="converted"),))
        return pipeline.evaluate(self.project, variant, self.evaluation_set)

    def save_as_winner(self, judged: EvaluatedVariant) -> None:
        """Save a variant as the winner of the last search, as a search without rules would do."""
        self.project.save(
            SearchResult(
                name=self.project.name, baseline=self.baseline, evaluated=(judged,), winner=judged, at="2013-09-01"
            )
        )


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Flights:
    folder = tmp_path_factory.mktemp("flights")
    project = open_demo(folder)
    recipe = (HERE / "train.py").read_text().replace("num_boost_round=300", "num_boost_round=50")
    (folder / "train.py").write_text(recipe.replace('"learning_rate": 0.03', '"learning_rate": 0.15'))
    data = pipeline.periods(project)
    baseline = pipeline.train(project, data)
    return Flights(project, baseline, build_evaluation_set(baseline, data["test"], project.blobs))


def miscalibrated(flights: Flights) -> str:
    return sharpened(flights.text(), about=flights.baseline.threshold)


def with_a_broken_slice(flights: Flights) -> str:
    signature = flights.baseline.model.signature
    index = signature.names.index("carrier")
    return harmed(flights.text(), feature=index, code=signature.inputs[index].categories.index(CARRIER))


def with_missing_values_misrouted(flights: Flights) -> str:
    return misrouted(flights.text())


@pytest.mark.parametrize(
    ("edit", "measure", "part"),
    [
        (miscalibrated, "probability_shift", ""),
        (with_a_broken_slice, "worst_slice.decision_churn", f"carrier={CARRIER}"),
        (with_missing_values_misrouted, "missing.decision_churn", "rows without "),
    ],
)
def test_a_wrong_variant_is_refused_by_the_rule_on_its_defect(
    run, flights: Flights, edit: Callable[[Flights], str], measure: str, part: str
) -> None:
    flights.save_as_winner(flights.judged(edit(flights)))
    code, out, _ = run("gate", "--first-model", "--project", flights.project.config.folder, "--json")
    rule_results = {
        rule_result.rule.measure: rule_result for rule_result in msgspec.json.decode(out, type=Verdict).rule_results
    }
    assert (code, rule_results[measure].answer) == (cli.FAIL, "fail")
    assert f"{measure.removeprefix('worst_slice.')} {f'of {part}' if part else 'is'}" in rule_results[measure].message


def test_only_calibration_refuses_a_variant_with_the_same_ranks_and_decisions(flights: Flights) -> None:
    rule_results = flights.judged(miscalibrated(flights)).verdict.rule_results
    assert [rule_result.rule.measure for rule_result in rule_results if rule_result.answer == "fail"] == [
        "probability_shift"
    ]


def test_a_conversion_that_differs_in_the_last_bits_only_is_not_refused(run, flights: Flights) -> None:
    text = rounded(flights.text())
    assert text != flights.text()
    flights.save_as_winner(flights.judged(text))
    assert run("gate", "--first-model", "--project", flights.project.config.folder)[0] == cli.PASS
