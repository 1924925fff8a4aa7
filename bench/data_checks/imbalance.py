"""The rows `imbalance.*` of bench/data.py: treatments of a rare class on two real tables of the package ISLP.

Caravan: 5,822 households of which 6 % bought a caravan policy. Default: 10,000 credit cards of which 3.3 % defaulted.
A false negative costs ten false positives. Half of the rows train a LightGBM model, a fifth is for validation, the rest
for the test.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import polars as pl

from harness import Result, Row, shown
from headway import pipeline
from headway.core.evidence import Finding, Measurement
from headway.data.check import run_checks
from headway.data.context import CheckContext
from headway.data.open import open_dataset
from headway.evaluation.audit_context import build_audit_context
from headway.evaluation.comparison import build_evaluation_set, compare_with_baseline
from headway.evaluation.context import load_audit
from headway.registry.project import Project, open_project

TABLES = {"caravan": ("Caravan", "Purchase", ""), "default": ("Default", "default", 'balance = "request"')}
"""File, target, and declared columns: the balance of a card nearly determines who defaults, without leakage."""
TOML = """
[project]
name = "rare"
[data]
source = "table.parquet"
target = "TARGET"
positive = "Yes"
[data.known]
KNOWN
[split]
shares = [0.5, 0.2, 0.3]
[model]
train = "mine:train"
costs = { false_positive = 1, false_negative = 10 }
"""
TRAIN = """
import lightgbm
def train(rows, labels, *, seed=0, weights=None):
    options = {"objective": "binary", "num_leaves": 7, "learning_rate": 0.05, "min_data_in_leaf": 50, "verbose": -1}
    options |= {"seed": seed, "feature_fraction": 0.5, "bagging_fraction": 0.7, "bagging_freq": 1, "num_threads": 1}
    data = lightgbm.Dataset(rows.to_numpy(), labels, weight=weights, feature_name=list(rows.columns))
    return lightgbm.train(options, data, num_boost_round=120)
"""
MEASURES = ("roc_auc", "brier", "recall", "cost")


def rows() -> Result:
    """Measure the share of the rare class of each table, and the effect of each treatment on the cost of a decision."""
    found: list[Row] = []
    for name, (file, target, known) in TABLES.items():
        with tempfile.TemporaryDirectory() as directory:
            found += _rows(name, _project(Path(directory), file, target, known))
    return found, []


def _rows(name: str, project: Project) -> list[Row]:
    measured = {(measurement.name, measurement.slice): measurement for measurement in _measured(project)}
    rate = measured["imbalance.base_rate", ""]
    [message] = [finding.message for finding in _checked(project) if finding.code == "D030"]
    found = [shown(f"imbalance.{name}.base_rate", rate.value, "share", f"{_interval(rate)}; D030: {message}")]
    for treatment in dict.fromkeys(slice for measure, slice in measured if measure == "imbalance.cost.drop"):
        lost = measured["imbalance.cost.drop", treatment]
        before_after = (
            f"{measure} {measured[f'imbalance.{measure}', 'baseline'].value:.4f} to "
            f"{measured[f'imbalance.{measure}', treatment].value:.4f}"
            f" (lost {_interval(measured[f'imbalance.{measure}.drop', treatment])})"
            for measure in MEASURES
        )
        label = treatment.replace(", ", "_").replace(" ", "_")
        found.append(shown(f"imbalance.{name}.{label}.cost.drop", lost.value, "a row", "; ".join(before_after)))
    return found


def _interval(found: Measurement) -> str:
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def _project(folder: Path, file: str, target: str, known: str) -> Project:
    spec = importlib.util.find_spec("ISLP")
    if spec is None or spec.origin is None:
        raise SystemExit("the tables of ISLP are not installed; try: make .venv/.installed-dev")
    pl.read_csv(Path(spec.origin).parent / f"data/{file}.csv").write_parquet(folder / "table.parquet")
    (folder / "headway.toml").write_text(TOML.replace("TARGET", target).replace("KNOWN", known), encoding="utf-8")
    (folder / "mine.py").write_text(TRAIN, encoding="utf-8")
    return open_project(folder)


def _checked(project: Project) -> list[Finding]:
    data = pipeline.periods(project)
    dataset = open_dataset(project.config)
    return run_checks(CheckContext(dataset=dataset, periods=data, config=project.config), families=("population",))


def _measured(project: Project) -> list[Measurement]:
    """Run the audit `imbalance` on the baseline, on `test`."""
    data = pipeline.periods(project)
    baseline = pipeline.train(project, data)
    subject = compare_with_baseline(
        baseline.model, build_evaluation_set(baseline, data["test"], project.blobs), project.blobs
    )
    context = build_audit_context(
        project.config,
        data,
        project.blobs,
        signature=baseline.model.signature,
        judged=data["test"],
        made_with=baseline.training,
    )
    return [
        measurement for measurement in load_audit("imbalance")(subject, context) if isinstance(measurement, Measurement)
    ]
