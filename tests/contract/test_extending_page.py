"""The page on plug-ins shows each plug-in that the tests install from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTSIDE = ROOT / "tests/outside"


@pytest.mark.parametrize(
    "module", ["headway_echo", "headway_half", "headway_greet", "headway_greet_measures", "headway_greet_settings"]
)
def test_the_plugin_on_the_page_is_the_one_installed_from_outside(module):
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    code = (OUTSIDE / f"{module}.py").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in page


def test_the_entry_points_on_the_page_are_the_installed_ones():
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    installed = (OUTSIDE / "headway_echo-0.1.dist-info/entry_points.txt").read_text(encoding="utf-8")
    for section in installed.strip().split("\n\n"):
        group, point = section.split("\n")
        name, module = point.split(" = ")
        assert f'[project.entry-points."{group.strip("[]")}"]\n{name} = "{module}"' in page
