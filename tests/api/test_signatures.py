"""The public functions: `help()`, tab completion, the stub file and the documentation list the same parameters."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import headway as hw
from headway.api import results
from headway.api.in_memory_project import parse_costs
from headway.api.learning_curve import LearningCurveRecorder
from headway.api.model import Model
from headway.core.errors import ConfigError
from headway.core.renamed import RenamedWarning

FUNCTIONS = ["compare", "evaluate", "learning_curve", "load", "optimize"]
RESULTS = [
    Model,
    LearningCurveRecorder,
    results.OptimizationResult,
    results.EvaluationResult,
    results.ComparisonResult,
]
STUB = ast.parse(Path(inspect.getfile(hw)).with_suffix(".pyi").read_text(encoding="utf-8"))


def documented(doc: str, section: str) -> list[str]:
    """The names that a numpydoc section describes."""
    found = re.search(rf"^{section}\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", inspect.cleandoc(doc), re.MULTILINE | re.DOTALL)
    lines = [line.partition(" : ")[0] for line in (found[1] if found else "").splitlines() if line[:1].strip()]
    return [name for line in lines for name in line.split(", ")]


def test_the_stub_imports_every_public_name():
    imported = {alias.name for node in STUB.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    declared = {ast.unparse(node.target) for node in STUB.body if isinstance(node, ast.AnnAssign)}
    (names,) = (ast.literal_eval(node.value) for node in STUB.body if isinstance(node, ast.Assign))
    assert imported | declared == set(hw.__all__) == set(names)


def test_tab_completion_lists_every_public_name():
    assert set(hw.__all__) <= set(dir(hw))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_explicit_and_documented(name):
    function = getattr(hw, name)
    parameters = inspect.signature(function).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    assert kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    assert documented(function.__doc__, "Parameters") == list(parameters)
    assert documented(function.__doc__, "Returns")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_options_are_keyword_only_with_a_default(name):
    parameters = inspect.signature(getattr(hw, name)).parameters.values()
    positional = {
        parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    }
    assert positional <= {"model", "other", "X", "y", "reference"}
    assert all(
        parameter.default is not inspect.Parameter.empty for parameter in parameters if parameter.name not in positional
    )


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.__name__)
def test_every_property_of_a_result_is_documented(result):
    public = [name for name, value in vars(result).items() if isinstance(value, property) and name[0] != "_"]
    assert set(public) <= set(documented(result.__doc__, "Attributes"))


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.__name__)
def test_every_method_of_a_result_documents_its_parameters(result):
    for name, method in vars(result).items():
        if (
            inspect.isfunction(method)
            and name[0] != "_"
            and name != "keep"
            and result is not results.OptimizationResult
        ):
            parameters = [parameter for parameter in inspect.signature(method).parameters if parameter != "self"]
            assert documented(method.__doc__, "Parameters") == parameters, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        ("optimize", "tell", "callback"),
        ("optimize", "lists", "query_id"),
        ("optimize", "weight", "sample_weight"),
        ("evaluate", "lists", "query_id"),
        ("compare", "weight", "sample_weight"),
        ("learning_curve", "weight", "sample_weight"),
        ("learning_curve", "learned", "training_data"),
    ],
)
def test_an_old_keyword_is_accepted_with_a_warning_that_names_the_new_one(function, old, new):
    arguments = [object()] * sum(
        parameter.default is inspect.Parameter.empty
        for parameter in inspect.signature(getattr(hw, function)).parameters.values()
    )
    with pytest.warns(RenamedWarning, match=f"'{old}' was renamed to '{new}'"), pytest.raises(Exception):  # noqa: B017
        getattr(hw, function)(*arguments, **{old: None})


def test_old_names_of_costs_are_accepted_with_a_warning():
    with pytest.warns(RenamedWarning, match="'miss' was renamed to 'false_negative'"):
        assert parse_costs({"miss": 4.0}) == parse_costs({"false_negative": 4.0})


def test_an_unknown_cost_is_rejected():
    with pytest.raises(ConfigError, match="unknown cost 'false'"):
        parse_costs({"false": 1.0})


def test_an_unknown_name_of_the_package_is_rejected():
    with pytest.raises(AttributeError, match=r"no attribute 'optimise'; it has "):
        hw.optimise  # noqa: B018


def test_labels_of_a_learning_curve_need_no_training_data():
    curve = hw.learning_curve(np.zeros((40, 2)), np.arange(40) % 2)
    assert curve.digests["learned"] == ""
