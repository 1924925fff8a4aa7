"""The page that tells how to add an engine shows the one that the tests install."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_engine_on_the_page_is_the_one_installed_from_outside():
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    code = (ROOT / "tests/outside/headway_echo.py").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in page


def test_the_entry_point_on_the_page_is_the_installed_one():
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    installed = (ROOT / "tests/outside/headway_echo-0.1.dist-info/entry_points.txt").read_text(encoding="utf-8")
    group, point = installed.strip().split("\n")
    name, module = point.split(" = ")
    assert f'[project.entry-points."{group.strip("[]")}"]\n{name} = "{module}"' in page
