"""Complete commands, options and choices in a shell: print its script, or install it."""

from __future__ import annotations

import sys
from typing import Literal

from headway.cli.main import AsJson, app
from headway.reporting.console import print_result


def plugin(
    shell: Literal["bash", "zsh", "fish", "powershell"] = "bash", *, install: bool = False, json: AsJson = False
) -> None:
    """Print the script that completes `headway` in a shell, or install it for new shells.

    Example: headway completion bash
    Example: headway completion zsh --install

    Parameters
    ----------
    shell
        The shell to complete in.
    install
        Put the script where the shell looks, with a line in its startup file, instead of printing it.
    """
    script = app().generate_completion(shell=shell)
    path = str(app().install_completion(shell=shell)) if install else ""
    if json:
        print_result({"shell": shell, "path": path, "script": script}, "", json=True)
    else:
        sys.stdout.write(f"{path}\n" if install else script)  # unchanged: a console would wrap its lines
