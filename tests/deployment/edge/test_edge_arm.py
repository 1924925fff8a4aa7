"""Packages compiled for 64-bit ARM: the programs write what those of this machine write, to the last digit."""

from __future__ import annotations

import csv
import io
import random
import subprocess
from pathlib import Path

import pytest
from tests.deployment.edge.packages import forest_release, made_release, text_release, write_sources
from tests.deployment.edge.test_edge_forests import forest_of
from tests.deployment.edge.test_edge_networks import SHAPES
from tests.engines.made_forests import rows_for
from tests.engines.text_pipelines import TEXTS, fitted
from tests.optimization.lowering.random_networks import random_network
from tests.optimization.lowering.random_networks import rows_for as network_rows

from headway.core.arrays import Floats
from headway.engines.dense import Dense
from headway.engines.estimators.texts import text_program
from headway.optimization.lowering.lower import lower_graph
from headway.registry.bundle import Bundle

pytestmark = pytest.mark.services
ARM = ("CC=aarch64-linux-gnu-gcc", "AR=aarch64-linux-gnu-ar", "CFLAGS=-O2 -static")


def forest(name: str) -> tuple[Bundle, Floats]:
    """A release of a forest, and rows for it."""
    made = forest_of(name)
    task = "regression" if made.outputs == 1 else "multiclass"
    return forest_release(made, rows_for(made, 8), task=task), rows_for(made, 200, seed=1)


def network(name: str) -> tuple[Bundle, Floats]:
    """A release of a network, and rows for it."""
    content, rows = lower_graph(random_network(SHAPES[name])), network_rows(SHAPES[name], 200)
    scores = Dense(content, {"level": "portable"}).predict(rows[:8])
    task = "regression" if scores.shape[1] == 1 else "multiclass"
    return made_release(content, rows[:8], scores, engine="dense", task=task), rows


def messages() -> list[str]:
    """Messages of words that the pipelines know, and of characters of many scripts."""
    source = random.Random(0)
    signs = [*"aBΣσİ .'éÉẞ\u0301\u00ad\u3000😀_١", "card", "lost", "東京", "привет", " "]
    return [*filter(None, TEXTS), *("x" + "".join(source.choices(signs, k=source.randrange(60))) for _ in range(300))]


@pytest.mark.parametrize("name", ["union", "hashed, tf-idf", "isotonic calibration"])
def test_messages_have_the_same_scores_on_arm(name, tmp_path):
    bundle = text_release(text_program(fitted(name), columns=None, width=1, texts=[0]), TEXTS[:8])
    found = []
    for machine, settings, emulator in (("native", (), ()), ("arm", ARM, ("qemu-aarch64",))):
        folder = write_sources(bundle, tmp_path / machine).parent
        subprocess.run(["make", "-s", "-C", folder, "intents_cli", *settings], check=True)
        command, content = [*emulator, str(folder / "intents_cli"), "--lines"], "\n".join(messages())
        found.append(subprocess.run(command, input=content, capture_output=True, text=True, check=True).stdout)
    assert found[0] == found[1] and found[0].count("\n") == len(messages()) + 1 and "rejected" not in found[0]


def answers(folder: Path, rows: Floats, *settings: str, emulator: tuple[str, ...] = ()) -> str:
    """Build the program, run it on the rows, and return its output."""
    subprocess.run(["make", "-s", "-C", folder, "flights_cli", *settings], check=True)
    text = io.StringIO()
    csv.writer(text).writerows([[f"column {index}" for index in range(rows.shape[1])], *rows.tolist()])
    command = [*emulator, str(folder / "flights_cli")]
    return subprocess.run(command, input=text.getvalue(), capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((forest, name) for name in ("numbers", "categories", "classes in turn", "three groups of trees")),
        *((network, name) for name in SHAPES),
    ],
)
def test_rows_have_the_same_scores_on_arm(kind, name, tmp_path):
    bundle, rows = kind(name)
    for machine in ("native", "arm"):
        write_sources(bundle, tmp_path / machine)
    native = answers(tmp_path / "native", rows)
    assert answers(tmp_path / "arm", rows, *ARM, emulator=("qemu-aarch64",)) == native
    assert native.count("\n") == len(rows) + 1
