"""A package from outside whose plug-in raises, as one with a defect does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

LATE = '''"""A plug-in with a defect, which shows when it is called."""
ADDRESS = "defective://HOST"
class Defective:
    def __call__(self, *_, **__):
        raise KeyError("defect")
    def __getattr__(self, name):
        raise KeyError("defect")
plugin = Defective()
'''
EARLY = '''"""A plug-in with a defect, which shows when it is imported."""
ADDRESS = "defective://HOST"
raise KeyError("defect")
'''


def install_raising(kind: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, code: str = LATE) -> str:
    """Put a package with one plug-in of a kind on the path of a test, and return the name of the plug-in."""
    module = f"raising_{kind}_{name}"
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    information = folder / f"{module}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    (information / "entry_points.txt").write_text(f"[headway.{kind}]\n{name} = {module}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, module, raising=False)
    return name
