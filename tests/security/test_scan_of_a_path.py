"""The files that a scan of a path reads."""

from __future__ import annotations

import pytest

from headway.core.errors import DataError
from headway.security.scan import list_files


def test_a_folder_lists_its_files_in_order_and_follows_no_link(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/model.pkl").write_bytes(b".")
    (tmp_path / "a.onnx").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path)]
    assert found == ["a.onnx", "loop", "b/model.pkl"]
    assert list(list_files(tmp_path / "a.onnx")) == [tmp_path / "a.onnx"]


def test_a_path_that_holds_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="nothing to scan"):
        list(list_files(tmp_path / "absent"))
