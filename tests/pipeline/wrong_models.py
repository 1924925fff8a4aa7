"""Deliberately wrong LightGBM models, each by an edit of the model text that a careless conversion could make."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

STUMP = """Tree={number}
num_leaves=2
num_cat=1
split_feature={feature}
split_gain=1
threshold=0
decision_type=1
left_child=-1
right_child=-2
leaf_value={value} 0
leaf_weight=1 1
leaf_count=1 1
internal_value=0
internal_weight=0
internal_count=2
cat_boundaries=0 1
cat_threshold={members}
is_linear=0
shrinkage=1


"""
CATEGORICAL, DEFAULT_LEFT, MISSING, NAN = 1, 2, 12, 8
"""Bits of a node's `decision_type`."""


def rounded(text: str) -> str:
    """Round every leaf to single precision, as a conversion to ONNX does."""
    return _edited(text, "leaf_value", lambda value: repr(float(np.float32(value))))


def sharpened(text: str, *, about: float) -> str:
    """Miscalibrate the model: stretch log odds by half around the threshold, so that no rank or decision changes."""
    odds = float(np.log(about / (1 - about)))
    first, rest = text.split("Tree=1\n", 1)
    trees = len(re.findall(r"^Tree=", text, re.MULTILINE))
    assert trees > 1
    first = _edited(first, "leaf_value", lambda value: repr(1.5 * float(value) - 0.5 * odds))
    return first + "Tree=1\n" + _edited(rest, "leaf_value", lambda value: repr(1.5 * float(value)))


def harmed(text: str, *, feature: int, code: int) -> str:
    """Break one slice: add a tree that raises the log odds of one category."""
    number = len(re.findall(r"^Tree=", text, re.MULTILINE))
    stump = STUMP.format(number=number, feature=feature, value=2.0, members=1 << code)
    return _unsized(text).replace("end of trees", f"{stump}end of trees")


def misrouted(text: str) -> str:
    """Send missing values right where they went left."""

    def flipped(value: str) -> str:
        bits = int(value)
        numeric = not bits & CATEGORICAL and bits & MISSING == NAN
        return str(bits ^ DEFAULT_LEFT if numeric else bits)

    return _edited(text, "decision_type", flipped)


def _edited(text: str, field: str, change: Callable[[str], str]) -> str:
    def line(found: re.Match[str]) -> str:
        return f"{field}={' '.join(map(change, found[1].split()))}"

    return re.sub(rf"^{field}=(.+)$", line, _unsized(text), flags=re.MULTILINE)


def _unsized(text: str) -> str:
    """Remove the sizes of trees, which an edit makes wrong; LightGBM does not need them."""
    return re.sub(r"^tree_sizes=.*\n", "", text, flags=re.MULTILINE)
