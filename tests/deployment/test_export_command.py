"""The command that exports a release."""

from __future__ import annotations

import json

import pytest
from tests.deployment import layouts
from tests.serving.running import project

from headway.cli.main import main


@pytest.fixture
def exported(tmp_path, capsys, monkeypatch):
    """Run `headway export` for the project of a release; return exit code, output and messages."""
    project(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["export", *arguments, "--release", "flights@live", "--project", str(tmp_path)])
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "message"),
    [("", "'' names no base image by its digest"), ("base@sha256:" + "0" * 64, "index.json cannot be read")],
)
def test_an_image_needs_a_base(exported, tmp_path, base, message):
    code, _, error = exported("oci", str(tmp_path / "image"), "--base", base)
    assert code == 2 and message in error and "  try: " in error


@pytest.mark.long
def test_an_image_of_the_base_install_is_written(exported, tmp_path):
    base = layouts.base_layout(tmp_path / "base")
    code, out, _ = exported("oci", str(tmp_path / "image"), "--base", base, "--json")
    printed = json.loads(out)
    assert code == 0 and printed["packages"] >= 20
    assert printed["digest"] == json.loads((tmp_path / "image/index.json").read_bytes())["manifests"][0]["digest"]
    libraries = layouts.members(tmp_path / "image", layer=1)
    assert (
        "opt/headway/lib/headway/serving/process.py" in libraries and "opt/headway/lib/numpy/__init__.py" in libraries
    )
