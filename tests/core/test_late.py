"""Functions that are named before their module is imported."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from headway.core.late import LateFunction, LateModule


def test_a_module_is_imported_when_one_of_its_functions_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_module.py").write_text("def double(number, *, plus=0):\n    return 2 * number + plus\n")
    monkeypatch.syspath_prepend(tmp_path)
    double = LateModule("late_module").double
    assert "late_module" not in sys.modules
    assert double(2, plus=1) == 5
    del sys.modules["late_module"]


def test_a_function_can_be_sent_to_another_process_and_is_a_key() -> None:
    function = LateModule("math").sqrt
    assert pickle.loads(pickle.dumps(function)) == function == LateFunction("math", "sqrt")
    assert {function: 1}[LateModule("math").sqrt] == 1


def test_a_private_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="_hidden"):
        LateModule("math")._hidden()


def test_a_module_that_is_absent_is_an_error_when_it_is_called() -> None:
    with pytest.raises(ModuleNotFoundError):
        LateModule("headway.core.none").function()
