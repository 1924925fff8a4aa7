"""Load plug-ins and say of each how it went: a process of its own, since a library that is broken may take it along.

usage: python -m headway.cli.doctor.load KIND:NAME ...
"""

from __future__ import annotations

import sys

import msgspec

from headway.cli.doctor.sign import Diagnosis
from headway.core import plugins
from headway.core.errors import HeadwayError, PluginError


def diagnose_plugin(what: str) -> Diagnosis:
    """How the loading of one plug-in (`KIND:NAME`) went: absent where its library is, broken where that fails."""
    kind, _, name = what.partition(":")
    try:
        getattr(plugins, f"load_{kind}")(name)
    except PluginError as error:
        return Diagnosis(
            what=what, health="absent", message=error.what.removeprefix(f"{kind} '{name}' "), hint=error.hint
        )
    except (HeadwayError, ImportError, OSError) as error:
        return Diagnosis(what=what, health="broken", message=f"cannot be loaded: {str(error).partition(chr(10))[0]}")
    return Diagnosis(what=what, health="well", message="")


if __name__ == "__main__":
    for each in sys.argv[1:]:
        sys.stdout.buffer.write(msgspec.json.encode(diagnose_plugin(each)) + b"\n")
        sys.stdout.flush()
