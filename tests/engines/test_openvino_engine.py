"""The OpenVINO engine and transform, in an environment of their own: with NNCF they are larger than all the rest."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.house.source_tree import ROOT

CASES = (
    *("tests/engines/openvino_cases.py", "tests/engines/openvino_encoder_cases.py"),
    *("tests/contract/test_engine.py", "tests/contract/test_transform.py"),
)


@pytest.mark.long
def test_its_cases_and_its_contracts_pass_where_openvino_is_installed() -> None:
    with tempfile.TemporaryDirectory(prefix="headway-openvino-") as folder:
        subprocess.run([shutil.which("python3.11") or sys.executable, "-m", "venv", folder], check=True)
        python = str(Path(folder) / "bin" / "python")
        install = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "-e",
            f"{ROOT}[lab,sklearn,xgboost,catboost,test,encoders,openvino]",
        ]
        subprocess.run(install, check=True, capture_output=True, text=True)
        command = [python, "-m", "pytest", "-p", "no:cacheprovider", "-k", "openvino or nncf", *CASES]
        run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
