"""Folders of the prediction log and of labels."""

from __future__ import annotations

from pathlib import Path

import nanoarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nanoarrow.ipc import InputStream

from headway.core.errors import DataError
from headway.storage import segments, traffic
from headway.storage.traffic import Label, save_labels


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
