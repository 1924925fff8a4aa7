"""What this machine has: processor, memory, engines present or absent and why, keys, state, clock."""

from __future__ import annotations

from pathlib import Path

from headway.cli.doctor import diagnose, diagnosis_table, is_healthy
from headway.cli.exit_codes import FAIL, PASS
from headway.reporting.console import print_result


def plugin(*, project: Path = Path("."), json: bool = False) -> int:
    """Look at this machine, at what is installed and at the project. Exit 0 well, 1 something needed is broken.

    Example: headway doctor --project headway-demo

    Parameters
    ----------
    project
        Folder whose settings, keys and state are looked at, if it is a project.
    json
        Print one JSON object.
    """
    signs = diagnose(project)
    print_result(signs, diagnosis_table(signs), json=json)
    return PASS if is_healthy(signs) else FAIL
