"""The torch engine, in an environment of its own, since torch is larger than headway with all its other extras."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.house.source_tree import ROOT

CASES = (
    "tests/engines/torch_cases.py",
    "tests/evaluation/learning_curves/torch_curve_cases.py",
    "tests/contract/test_engine.py",
)


@pytest.mark.long
def test_its_cases_and_its_contract_pass_where_torch_is_installed() -> None:
    with tempfile.TemporaryDirectory(prefix="headway-torch-") as folder:
        subprocess.run([shutil.which("python3.11") or sys.executable, "-m", "venv", folder], check=True)
        python = str(Path(folder) / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet", "-e", f"{ROOT}[lab,sklearn,xgboost,catboost,test,torch]"]
        subprocess.run(install, check=True, capture_output=True, text=True)
        command = [python, "-m", "pytest", "-p", "no:cacheprovider", "-k", "torch", *CASES]
        run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
