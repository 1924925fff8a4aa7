"""A rule on a measure that nothing measures is refused before a search begins, with the nearest name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from headway.api.in_memory_project import create_project, require_known_measures
from headway.core import plugins
from headway.core.errors import ConfigError, HeadwayError


def test_a_misspelled_measure_is_refused_with_the_nearest_name():
    with pytest.raises(
        ConfigError, match=r"no measure is called 'acuracy\.drop'\n  at: policy\n  try: nearest: accuracy"
    ):
        require_known_measures(["roc_auc.drop", "acuracy.drop"], where="policy")
    with pytest.raises(ConfigError, match="no measure is called 'qqq'\n  at: policy\n  try: headway evaluate"):
        require_known_measures(["qqq"], where="policy")


def test_a_measure_of_another_package_is_accepted(monkeypatch):
    monkeypatch.setattr(plugins, "names", lambda kind: [*plugins.own(kind), "pinball"])
    require_known_measures(["pinball.p90", "qqq"], where="policy")
    with pytest.raises(ConfigError, match="nearest: roc_auc"):
        require_known_measures(["roc_acu"], where="policy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"objective": "latency.on_row"},
            "no measure is called 'latency.on_row'\n  at: objective",
        ),
        ({"slices": ["port"]}, "no column 'port' for slices"),
    ],
)
def test_a_misspelled_objective_or_slice_is_refused_before_the_search(options, message):
    rows = pd.DataFrame({"a": np.arange(60.0), "b": 1.0})
    model = LogisticRegression().fit(rows, rows["a"] > 30)
    with pytest.raises(HeadwayError, match=message):
        create_project(model, rows, rows["a"] > 30, **options)
