"""Each check has one file, one code, one test file, one line in the reference and a place in a guide."""

from __future__ import annotations

import re
from collections import Counter

from tests.house.pages import PAGES, read
from tests.house.source_tree import ROOT, fail_with

from headway.core import plugins
from headway.data.check import check_codes

CODES = {name: check_codes(name)[0] for name in plugins.own("check")}


def path_of(name: str) -> str:
    """Return the path of a check in its folder: `split/duplicates`."""
    return f"{plugins.family('check', name)}/{name}"


def test_no_two_checks_share_a_code():
    fail_with(f"{code} is the code of {count} checks" for code, count in Counter(CODES.values()).items() if count > 1)


def test_a_check_has_a_test_file_at_the_same_place():
    tests = {name: f"tests/data/checks/{plugins.family('check', name)}/test_{name}.py" for name in CODES}
    absent = {name: path for name, path in tests.items() if not (ROOT / path).exists()}
    fail_with(f"src/headway/data/checks/{path_of(name)}.py: no {path}" for name, path in absent.items())


def test_a_test_file_in_the_folder_of_checks_belongs_to_one_check():
    existing = (
        path.relative_to(ROOT / "tests/data/checks") for path in (ROOT / "tests/data/checks").rglob("test_*.py")
    )
    found = {f"{path.parent}/{path.stem.removeprefix('test_')}" for path in existing}
    fail_with(f"tests/data/checks: no check {path}" for path in sorted(found - {path_of(name) for name in CODES}))


def test_a_check_returns_only_its_own_code():
    for name, path in plugins.own("check").items():
        others = set(re.findall(r'code="(D\d{3})"', path.read_text(encoding="utf-8"))) - {CODES[name]}
        assert not others, f"{path}: {others}"


def test_a_check_has_one_line_in_the_reference_of_findings():
    lines = read("docs/reference/findings.md").splitlines()
    counted = {name: sum(line.startswith(f"| {code} |") for line in lines) for name, code in CODES.items()}
    wrong = {name: count for name, count in counted.items() if count != 1}
    fail_with(f"docs/reference/findings.md: {CODES[name]} has {count} lines" for name, count in wrong.items())


def test_a_guide_describes_each_check():
    pages = " ".join(read(path) for path in PAGES if re.fullmatch(r"docs/[\w-]+\.md", path))
    fail_with(f"docs: no page describes {code} ({path_of(name)})" for name, code in CODES.items() if code not in pages)
