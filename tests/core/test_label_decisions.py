"""Several labels a row as one string, and the decision for each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headway.core.label_sets import decide_labels, join_labels, name_labels, split_labels

NAME = st.text(min_size=1, max_size=8).map(str.strip).filter(lambda name: name and "|" not in name)


@given(st.lists(NAME))
def test_names_come_back(names):
    assert split_labels(join_labels(names)) == names


def test_a_label_is_given_above_one_half_as_the_library_decides():
    decided = decide_labels(np.array([[0.2, 0.8, 0.6], [0.1, 0.5, 0.0]]))
    assert decided.tolist() == [[0, 1, 1], [0, 0, 0]]
    assert name_labels(decided, ("a", "b", "c")) == ["b|c", "|"]
