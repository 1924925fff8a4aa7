"""The rows that a model was made with, and the rows that judge it."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from headway.core.contracts import CheckContext
from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable

BEFORE_TEST = ("train", "validation")


def train_and_test(survey: CheckContext) -> tuple[Dataset, Dataset]:
    """What a model learned from and was chosen by, as one, and the rows held out; raises NotApplicable without both."""
    test = survey.periods.get("test")
    if test is None or not any(name in survey.periods for name in BEFORE_TEST):
        raise NotApplicable("no rows are held out to compare with", hint="[split] train, validation and test")
    return training_rows(survey), test


def training_rows(survey: CheckContext) -> Dataset:
    """What a model learned from and was chosen by, as one; the whole dataset where it is not cut."""
    seen = [survey.periods[name] for name in BEFORE_TEST if name in survey.periods]
    if not seen:
        return survey.dataset
    return replace(seen[0], name="train", table=pl.concat([each.table for each in seen]))
