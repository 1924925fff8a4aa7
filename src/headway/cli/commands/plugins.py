"""List every installed plug-in by kind, with its description."""

from __future__ import annotations

from headway.cli.main import AsJson
from headway.core import plugins
from headway.reporting.console import print_result


def plugin(*, json: AsJson = False) -> None:
    """List every installed plug-in by kind, with its description; no library is imported.

    Example: headway plugins
    """
    found = {
        kind: {name: plugins.describe(kind, name) for name in names} for kind, names in plugins.all_names().items()
    }
    lines = [f"{kind:10} {name:22} {line}" for kind, names in found.items() for name, line in names.items()]
    print_result(found, "\n".join(lines), json=json)
