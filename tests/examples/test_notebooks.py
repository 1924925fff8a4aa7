"""The example notebooks run from top to bottom."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from tests.house.source_tree import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
# The magics of ipykernel leave sockets and event loops to the garbage collector.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("HEADWAY_KEYS", str(tmp_path / "keys"))
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})

    client.execute()

    shell = [cell for cell in notebook.cells if cell.cell_type == "code" and "!headway" in cell.source]
    printed = "".join(output.get("text", "") for cell in shell for output in cell.outputs)
    assert "Traceback" not in printed and "  try: " not in printed, printed
    assert len(notebook.cells) > 4


def test_the_readme_of_the_examples_lists_each_notebook() -> None:
    page = (ROOT / "examples/README.md").read_text(encoding="utf-8")
    assert [path.stem for path in NOTEBOOKS if f"({path.name})" not in page] == []
