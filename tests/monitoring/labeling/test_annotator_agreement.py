from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from headway.core.errors import DataError
from headway.monitoring.labeling.agreement import (
    annotation_matrix,
    measure_agreement,
    read_annotations,
    stored_annotations,
)
from headway.storage.traffic import Label, save_labels


def annotated(items: int = 200, noise: float = 0.1, seed: int = 0) -> pl.DataFrame:
    """Labels of three annotators, each of whom errs by chance in this share of items."""
    draw = np.random.default_rng(seed)
    true = draw.integers(0, 2, items)
    lines = []
    for who in ("ada", "bo", "cy"):
        labels = np.where(draw.random(items) < noise, 1 - true, true)
        lines += [{"key": f"k{item}", "who": who, "label": int(label)} for item, label in enumerate(labels)]
    return pl.DataFrame(lines)


def test_alpha_kappa_and_each_pair_have_an_interval_over_items():
    found = measure_agreement(annotated(), name="n", source="s")
    alpha = found.find("agreement.krippendorff")
    assert 0 < alpha.low < alpha.value < alpha.high < 1
    assert (alpha.n_rows, alpha.n_groups) == (200, 200)
    pairs = [measurement.slice for measurement in found.measurements if measurement.name == "agreement.cohen"]
    assert pairs == ["ada & bo", "ada & cy", "bo & cy"]


@pytest.mark.slow
def test_the_interval_holds_the_alpha_of_very_many_items_in_most_samples():
    true = measure_agreement(annotated(20_000, seed=99), name="n", source="s").find("agreement.krippendorff").value
    found = [measure_agreement(annotated(100, seed=seed), name="n", source="s").measurements[0] for seed in range(60)]
    assert sum(measurement.low <= true <= measurement.high for measurement in found) >= 53


def test_dependent_items_widen_the_interval():
    table = annotated()
    tens = table.with_columns(group=pl.col("key").str.slice(1).cast(pl.Int64) // 5)
    copied = pl.concat([tens.filter(pl.col("group") == 0)] * 1 + [tens])
    alpha = measure_agreement(copied, name="n", source="s").measurements[0]
    assert alpha.n_groups == 40


def test_the_later_of_two_labels_of_one_annotator_counts():
    table = pl.DataFrame({"key": ["a", "a", "a"], "who": ["x", "y", "x"], "label": [0, 1, 1]})
    assert annotation_matrix(table).labels.tolist() == [[0, 0]]
    assert annotation_matrix(table).classes == ("1",)


def test_stored_labels_are_compared_by_annotator(tmp_path):
    for who, label in (("ada", 1.0), ("bo", 0.0)):
        save_labels(tmp_path, "n", [Label("k1", label), Label("k2", 1.0)], who=who)
    assert annotation_matrix(stored_annotations(tmp_path, "n")).annotators == ("ada", "bo")


def test_annotations_without_pairs_or_columns_are_rejected_with_a_hint(tmp_path):
    pl.DataFrame({"key": ["a"], "label": [1]}).write_csv(tmp_path / "x.csv")
    with pytest.raises(DataError, match=r"no column 'who'[\s\S]*columns key, who and label"):
        read_annotations(tmp_path / "x.csv")
    with pytest.raises(DataError, match="two annotators"):
        annotation_matrix(pl.DataFrame({"key": ["a", "b"], "who": ["x", "y"], "label": [1, 1]}))
    with pytest.raises(DataError, match="no label is stored"):
        stored_annotations(tmp_path, "n")
