"""Show in a few lines what is live, whether it is healthy, and the next step."""

from __future__ import annotations

from pathlib import Path

import msgspec

from headway.cli.main import FAIL, PASS, UNDECIDED, AsJson, ProjectFolder
from headway.monitoring.overview import Health, model_state
from headway.monitoring.servers import ServerReader, count_traffic
from headway.registry.project import open_project
from headway.reporting.console import print_result
from headway.reporting.text.overview import status_lines

OF_STATE: dict[Health, int] = {"healthy": PASS, "attention": FAIL, "broken": FAIL, "cannot be judged": UNDECIDED}


def plugin(*, project: ProjectFolder = Path("."), json: AsJson = False) -> int:
    """Show what is live, whether it is healthy, and the next step.

    Exit 0 healthy, 1 needs attention or broken, 3 cannot be judged.

    It reads the last records of the project and the metrics of its servers ([ui] servers); nothing is measured.

    Example: headway status --project headway-demo
    """
    opened = open_project(project)
    servers = ServerReader(opened.config)
    found = servers.read()
    state = model_state(opened, servers=found, declared=servers.declared)
    traffic = count_traffic(opened.name, found) if any(not answer.problem for answer in state.servers) else None
    shown = {**msgspec.to_builtins(state), "traffic": msgspec.to_builtins(traffic)}
    print_result(shown, "\n".join(status_lines(state, traffic)), json=json)
    return OF_STATE[state.state]
