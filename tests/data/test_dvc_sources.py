"""Open a project whose data DVC tracks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.data.dvc_folders import FLIGHTS, dvc_init, folder_pointer, lock, made, pointer, write_file

from headway.core.config import Config
from headway.core.dataset import Dataset
from headway.core.errors import DataError, PluginError
from headway.data.contract.check import scan_file
from headway.data.open import open_dataset
from headway.data.settings.data import DataSection


def opened(folder: Path, source: str) -> Dataset:
    return open_dataset(config(folder, source))


def config(folder: Path, source: str) -> Config:
    return Config(DataSection(source=source, target="late", time="at"), folder=str(folder))


@pytest.fixture
def without_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where PyYAML is not installed."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "headway.data._dvc_yaml", raising=False)


def test_a_dataset_has_the_dvc_record_of_its_file(tmp_path):
    write_file(dvc_init(tmp_path) / "flights.csv", FLIGHTS)
    lock(tmp_path, made(FLIGHTS))
    [tracked] = opened(tmp_path, "flights.csv").tracked
    assert (tracked.stage, tracked.difference) == ("prepare", "")


@pytest.mark.parametrize("suffix", ["", ".dvc"])
def test_a_pointer_is_read_as_its_file_or_folder(tmp_path, suffix):
    pointer(write_file(dvc_init(tmp_path) / "flights.csv", FLIGHTS), FLIGHTS)
    folder_pointer(tmp_path / "parts", {"a.csv": FLIGHTS, "b.csv": FLIGHTS})
    one, many = opened(tmp_path, f"flights.csv{suffix}"), opened(tmp_path, f"parts{suffix}")

    assert (len(one.table), len(many.table)) == (28, 56)
    assert [tracked_file.path for tracked_file in (*one.tracked, *many.tracked)] == ["flights.csv", "parts"]
    assert len(scan_file(tmp_path / f"flights.csv{suffix}", config(tmp_path, "x")).collect()) == 28


@pytest.mark.parametrize("source", ["flights.csv", "flights.csv.dvc"])
def test_data_that_was_not_fetched_is_an_error_with_the_dvc_command(tmp_path, source):
    record = pointer(dvc_init(tmp_path) / "flights.csv", FLIGHTS)
    with pytest.raises(DataError, match=r"'flights\.csv' is not here, only its record") as error:
        opened(tmp_path, source)
    assert (error.value.where, error.value.hint) == (str(record), f"dvc pull {record}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outs:\n- path: a.csv\n- path: b.csv\n", "points to a.csv, b.csv"),
        ("deps: []\n", "points to nothing"),
    ],
)
def test_a_pointer_to_no_or_several_files_is_refused(tmp_path, text, message):
    write_file(tmp_path / "flights.csv.dvc", text)
    with pytest.raises(DataError, match=message):
        opened(tmp_path, "flights.csv.dvc")


def test_a_missing_pointer_is_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"no file 'flights\.csv\.dvc'"):
        opened(tmp_path, "flights.csv.dvc")


@pytest.mark.parametrize("source", ["parts", "parts/f*.csv"])
def test_files_of_a_folder_that_were_not_fetched_are_reported(tmp_path, source):
    dvc_init(tmp_path)
    for name in ("f1.csv", "f2.csv"):
        pointer(write_file(tmp_path / "parts" / name, FLIGHTS), FLIGHTS)
    pointer(tmp_path / "parts/f3.csv", FLIGHTS)
    pointer(tmp_path / "parts/f3.txt", FLIGHTS)
    tracked = opened(tmp_path, source).tracked

    assert [(tracked_file.path, tracked_file.missing) for tracked_file in tracked] == [
        ("parts/f1.csv", False),
        ("parts/f2.csv", False),
        ("parts/f3.csv", True),
    ]


def test_without_pyyaml_the_data_is_opened_and_the_record_is_reported_as_unread(tmp_path, without_yaml):
    pointer(write_file(tmp_path / "flights.csv", FLIGHTS), FLIGHTS)
    [tracked] = opened(tmp_path, "flights.csv").tracked
    assert tracked.error == "'flights.csv.dvc', a file of DVC, needs 'yaml': pip install 'headway[dvc]'"


def test_without_pyyaml_a_pointer_cannot_be_followed(tmp_path, without_yaml):
    pointer(write_file(tmp_path / "flights.csv", FLIGHTS), FLIGHTS)
    with pytest.raises(PluginError, match=r"needs 'yaml'\n  try: pip install 'headway\[dvc\]'"):
        opened(tmp_path, "flights.csv.dvc")


def test_functions_and_untracked_files_have_no_dvc_record(tmp_path):
    write_file(tmp_path / "flights.csv", FLIGHTS)
    write_file(
        tmp_path / "made_here.py",
        "import polars as pl\ndef rows():\n    return pl.read_csv('FILE')\n".replace(
            "FILE", str(tmp_path / "flights.csv")
        ),
    )
    assert opened(tmp_path, "flights.csv").tracked == opened(tmp_path, "made_here:rows").tracked == ()
