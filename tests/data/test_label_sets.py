"""Targets of several labels a row: strings, lists and indicator matrices mean the same sets."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError, DataError
from headway.core.label_sets import name_labels
from headway.data.label_sets import encode_label_sets, indicator_matrix, known_labels
from headway.data.roles import encode_target
from headway.data.settings.data import DataSection

NAMES = ("billing", "delivery", "refund")


@given(st.lists(st.sets(st.sampled_from(NAMES)), min_size=1))
def test_sets_of_labels_survive_every_form(sets):
    matrix = np.array([[float(name in row) for name in NAMES] for row in sets])
    strings = pl.Series("labels", name_labels(matrix, NAMES))
    lists = pl.Series("labels", [sorted(row, reverse=True) for row in sets], pl.List(pl.String))
    assert encode_label_sets(lists, NAMES).to_list() == encode_label_sets(strings, NAMES).to_list() == strings.to_list()
    assert (indicator_matrix(strings, NAMES) == matrix).all()


def test_blanks_and_repeated_names_do_not_matter_and_a_missing_value_is_unknown():
    column = pl.Series("labels", ["refund | billing|refund", "|", None, ""])
    assert encode_label_sets(column, NAMES).to_list() == ["billing|refund", "|", None, "|"]
    assert known_labels(column) == ["refund", "billing"]


@pytest.mark.parametrize(
    ("column", "classes", "reason", "hint"),
    [
        (["billing", "refnd"], NAMES, "holds the label 'refnd'", "'refund' in place of it"),
        (["billing", "zzz"], NAMES, "holds the label 'zzz'", "add it to"),
        ([1, 2], NAMES, "reads strings or lists", "'|'"),
        (["billing"], ("billing",), "needs two labels or more", "binary"),
        (["billing"], ("billing", "a|b"), "cannot be the name of a label", "rename it"),
    ],
)
def test_a_target_without_sets_of_labels_is_refused_with_what_to_do(column, classes, reason, hint):
    with pytest.raises(DataError, match=reason) as refused:
        encode_label_sets(pl.Series("labels", column), classes)
    assert hint in refused.value.hint


def test_labels_that_are_not_declared_are_listed():
    section = DataSection(task="multilabel", target="labels")
    with pytest.raises(ConfigError, match="no labels are declared") as refused:
        encode_target(pl.Series("labels", ["b|a", "a"]), section)
    assert refused.value.hint == '[data] classes = ["a", "b"]'
