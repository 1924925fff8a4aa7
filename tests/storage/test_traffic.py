"""Folders of the prediction log and of labels."""

from __future__ import annotations

import threading
from pathlib import Path

import nanoarrow
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nanoarrow.ipc import InputStream

from headway.core.errors import DataError, StoreError
from headway.storage import segments, traffic
from headway.storage.traffic import Label, labels_of, save_label, save_labels


def read(path: Path) -> list[dict[str, object]]:
    """Return the rows of a segment."""
    with InputStream.from_path(path) as stream:
        return nanoarrow.Array(stream).to_pylist()


def test_the_log_of_a_release_is_named_by_the_first_digits_of_its_digest(tmp_path):
    folder = traffic.log_folder(tmp_path, "flights", "sha256:" + "0123456789abcdef" * 4)
    assert folder == tmp_path / "log" / "flights" / "0123456789ab"


def test_labels_are_saved_with_their_source(tmp_path):
    assert save_labels(tmp_path, "flights", [Label("a", 1.0), Label("b", 0.0)], who="ann") == 2
    (path,) = segments.segments(traffic.labels_folder(tmp_path, "flights"))
    rows = read(path)
    assert [(row["key"], row["label"], row["who"]) for row in rows] == [("a", 1.0, "ann"), ("b", 0.0, "ann")]


def test_a_label_without_a_key_is_refused_and_none_is_saved(tmp_path):
    with pytest.raises(DataError, match="has no key"):
        save_labels(tmp_path, "flights", [Label("a", 1.0), Label("", 0.0)], who="ann")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=20))
def test_texts_come_back_as_they_were(tmp_path_factory, texts):
    path = segments.save(tmp_path_factory.mktemp("t"), {"text": texts})
    assert [row["text"] for row in read(path)] == texts


def test_a_string_that_utf_8_cannot_encode_is_saved_with_a_replacement_mark(tmp_path):
    assert [row["text"] for row in read(segments.save(tmp_path, {"text": ["a\ud800", "b"]}))] == ["a?", "b"]


COLUMNS = {
    "key": ["a", None, "ü", "", "e\n"],
    "none": [None] * 5,
    "at_us": np.arange(5, dtype=np.int64) - 2,
    "out.0": np.array([0.5, np.nan, -0.0, 1e300, 5e-324]),
    "status": np.array([0, 1, -128, 127, 5], dtype=np.int8),
    "strided": np.arange(10.0)[::2],
}


@pytest.mark.parametrize("rows", range(6))
def test_columns_of_all_types_come_back_in_both_libraries_that_read_a_log(tmp_path, rows):
    expected = {name: values[:rows] for name, values in COLUMNS.items()}
    path = segments.save(tmp_path, expected)
    loaded, table = segments.load(path), pl.read_ipc_stream(path)
    assert list(loaded) == table.columns == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(loaded[name], values)
        assert getattr(loaded[name], "dtype", list) == getattr(values, "dtype", list)
        np.testing.assert_array_equal(table[name].to_list(), list(values))
        assert table[name].null_count() == sum(value is None for value in values)


@given(st.integers(1, 40), st.integers(0, 300), st.integers(0, 2**32))
def test_a_segment_may_have_any_number_of_columns_and_rows(tmp_path_factory, width, rows, seed):
    columns = {f"out.{number}": np.random.default_rng(seed + number).random(rows) for number in range(width)}
    loaded = segments.load(segments.save(tmp_path_factory.mktemp("t"), {"key": ["k"] * rows, **columns}))
    assert loaded.pop("key") == ["k"] * rows
    assert all((values == columns[name]).all() for name, values in loaded.items()) and len(loaded) == width


def test_of_labels_that_people_give_one_request_at_once_one_is_saved(tmp_path):
    started = threading.Barrier(8)

    def give(number: int) -> None:
        started.wait()
        save_label(tmp_path, "flights", Label("k1", float(number % 2)), who=f"person {number}")

    threads = [threading.Thread(target=give, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (label,) = labels_of(tmp_path, "flights", "k1")
    assert label.label == int(label.who[-1]) % 2


def test_a_person_may_change_a_label_and_give_a_second_opinion(tmp_path):
    def give(value: float, who: str, **how: bool) -> float | None:
        found = save_label(tmp_path, "flights", Label("k1", value), who=who, **how)
        return None if found is None else found.label

    assert give(1.0, "ada") is None
    assert give(1.0, "ada") == 1.0
    assert give(0.0, "ada") is None
    assert give(1.0, "ben") == 0.0
    assert give(1.0, "ben", is_second=True) is None
    assert [(label.label, label.who) for label in labels_of(tmp_path, "flights", "k1")] == [
        (1.0, "ada"),
        (0.0, "ada"),
        (1.0, "ben"),
    ]
    assert labels_of(tmp_path, "flights", "k") == []


def test_labels_that_another_machine_shipped_are_seen(tmp_path):
    save_labels(tmp_path / "cache", "flights", [Label("k1", 1.0)], who="ada")
    found = save_label(tmp_path, "flights", Label("k1", 0.0), who="ben", root=tmp_path / "cache")
    assert found is not None
    assert found.who == "ada"
    assert labels_of(tmp_path, "flights", "k1") == []


def test_the_oldest_segments_of_the_log_go_if_it_is_too_large(tmp_path):
    folder = traffic.log_folder(tmp_path, "flights", "sha256:" + "0" * 64)
    names = [f"{number:020}-1-0{segments.SUFFIX}" for number in (1, 2, 3)]
    sizes = [segments.save(folder, {"a": np.arange(9)}, name=name).stat().st_size for name in names]
    save_labels(tmp_path, "flights", [Label("a", 1.0)], who="ann")
    assert traffic.delete_beyond(tmp_path, sum(sizes)) == 0
    with traffic.rewriting(tmp_path, wait=True):
        assert traffic.delete_beyond(tmp_path, 0) == 0
    assert traffic.delete_beyond(tmp_path, 2 * sizes[0]) == 1
    assert [path.name for path in segments.segments(folder)] == names[1:]
    assert traffic.delete_beyond(tmp_path, 0) == 2
    assert len(list(segments.segments(traffic.labels_folder(tmp_path, "flights")))) == 1


def test_a_lock_that_cannot_be_written_is_an_error_of_the_store(tmp_path):
    (tmp_path / traffic.LOCK).mkdir()
    (tmp_path / traffic.LABELS_LOCK).mkdir()
    with pytest.raises(StoreError, match=r"cannot write 'segments\.lock'"), traffic.rewriting(tmp_path, wait=False):
        pass
    with pytest.raises(StoreError, match=r"cannot write 'labels\.lock'"):
        save_label(tmp_path, "flights", Label("a", 1.0), who="ann")
