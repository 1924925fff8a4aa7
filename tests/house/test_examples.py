"""The examples in docstrings are right."""

from __future__ import annotations

import doctest
import importlib
from pathlib import PurePath

import pytest
from tests.house.source_tree import ROOT, sources

MODULES = [source.module for source in sources("src") if ">>> " in source.text]
TOOLS = [source.path for source in sources("tools") if ">>> " in source.text]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_right(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("path", TOOLS)
def test_the_examples_of_a_tool_are_right(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    result = doctest.testmod(importlib.import_module(PurePath(path).stem))
    assert (result.failed, result.attempted > 0) == (0, True)
