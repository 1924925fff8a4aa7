"""Diagnose this machine: processor, memory, engines and why one is absent, keys, state, clock."""

from __future__ import annotations

from pathlib import Path

from headway.cli.doctor import diagnose, diagnosis_table, is_healthy
from headway.cli.exit_codes import FAIL, PASS
from headway.cli.main import AsJson
from headway.reporting.console import print_result


def plugin(*, project: Path = Path("."), json: AsJson = False) -> int:
    """Diagnose this machine, the installation and the project. Exit 0 if all is well, 1 if a needed part is broken.

    Example: headway doctor --project headway-demo

    Parameters
    ----------
    project
        Folder whose settings, keys and state are diagnosed, if it is a project.
    """
    diagnoses = diagnose(project)
    print_result(diagnoses, diagnosis_table(diagnoses), json=json)
    return PASS if is_healthy(diagnoses) else FAIL
