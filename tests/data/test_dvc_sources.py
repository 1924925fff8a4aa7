"""A project whose data DVC tracks: what is read, what is said of it, and what is found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.data.dvc_folders import FLIGHTS, begun, folder_pointer, lock, made, pointer, put

from headway.core.config import Config, DataSection
from headway.core.dataset import Dataset
from headway.core.errors import DataError, PluginError
from headway.data.contract.check import scan_file
from headway.data.open import open_dataset


def opened(folder: Path, source: str) -> Dataset:
    return open_dataset(config(folder, source))


def config(folder: Path, source: str) -> Config:
    return Config(folder=str(folder), data=DataSection(source=source, target="late", time="at"))


@pytest.fixture
def without_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where PyYAML is not installed."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "headway.data._dvc_yaml", raising=False)


def test_a_dataset_carries_what_dvc_says_of_its_file(tmp_path):
    put(begun(tmp_path) / "flights.csv", FLIGHTS)
    lock(tmp_path, made(FLIGHTS))
    [told] = opened(tmp_path, "flights.csv").tracked
    assert (told.stage, told.unlike) == ("prepare", "")


@pytest.mark.parametrize("suffix", ["", ".dvc"])
def test_a_pointer_reads_as_the_file_or_the_folder_that_it_points_to(tmp_path, suffix):
    pointer(put(begun(tmp_path) / "flights.csv", FLIGHTS), FLIGHTS)
    folder_pointer(tmp_path / "parts", {"a.csv": FLIGHTS, "b.csv": FLIGHTS})
    one, many = opened(tmp_path, f"flights.csv{suffix}"), opened(tmp_path, f"parts{suffix}")

    assert (len(one.table), len(many.table)) == (28, 56)
    assert [each.path for each in (*one.tracked, *many.tracked)] == ["flights.csv", "parts"]
    assert len(scan_file(tmp_path / f"flights.csv{suffix}", config(tmp_path, "x")).collect()) == 28


@pytest.mark.parametrize("source", ["flights.csv", "flights.csv.dvc"])
def test_data_that_nobody_fetched_are_asked_for(tmp_path, source):
    told = pointer(begun(tmp_path) / "flights.csv", FLIGHTS)
    with pytest.raises(DataError, match=r"'flights\.csv' is not here, only its record") as error:
        opened(tmp_path, source)
    assert (error.value.where, error.value.hint) == (str(told), f"dvc pull {told}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outs:\n- path: a.csv\n- path: b.csv\n", "points to a.csv, b.csv"),
        ("deps: []\n", "points to nothing"),
    ],
)
def test_a_pointer_to_anything_but_one_thing_is_refused(tmp_path, text, message):
    put(tmp_path / "flights.csv.dvc", text)
    with pytest.raises(DataError, match=message):
        opened(tmp_path, "flights.csv.dvc")


def test_a_pointer_that_is_not_there_is_no_file(tmp_path):
    with pytest.raises(DataError, match=r"no file 'flights\.csv\.dvc'"):
        opened(tmp_path, "flights.csv.dvc")


@pytest.mark.parametrize("source", ["parts", "parts/f*.csv"])
def test_files_of_a_folder_that_nobody_fetched_are_told(tmp_path, source):
    begun(tmp_path)
    for name in ("f1.csv", "f2.csv"):
        pointer(put(tmp_path / "parts" / name, FLIGHTS), FLIGHTS)
    pointer(tmp_path / "parts/f3.csv", FLIGHTS)
    pointer(tmp_path / "parts/f3.txt", FLIGHTS)
    told = opened(tmp_path, source).tracked

    assert [(each.path, each.gone) for each in told] == [
        ("parts/f1.csv", False),
        ("parts/f2.csv", False),
        ("parts/f3.csv", True),
    ]


def test_without_its_reader_the_data_is_opened_and_the_record_said_to_be_unread(tmp_path, without_yaml):
    pointer(put(tmp_path / "flights.csv", FLIGHTS), FLIGHTS)
    [told] = opened(tmp_path, "flights.csv").tracked
    assert told.unread == "'flights.csv.dvc', a file of DVC, needs 'yaml': pip install 'headway[dvc]'"


def test_without_its_reader_a_pointer_cannot_be_followed(tmp_path, without_yaml):
    pointer(put(tmp_path / "flights.csv", FLIGHTS), FLIGHTS)
    with pytest.raises(PluginError, match=r"needs 'yaml'\n  try: pip install 'headway\[dvc\]'"):
        opened(tmp_path, "flights.csv.dvc")


def test_a_function_and_a_file_that_nobody_tracks_have_nothing_said_of_them(tmp_path):
    put(tmp_path / "flights.csv", FLIGHTS)
    put(
        tmp_path / "made_here.py",
        "import polars as pl\ndef rows():\n    return pl.read_csv('FILE')\n".replace(
            "FILE", str(tmp_path / "flights.csv")
        ),
    )
    assert opened(tmp_path, "flights.csv").tracked == opened(tmp_path, "made_here:rows").tracked == ()
