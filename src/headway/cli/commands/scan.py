"""Judge files of others before anything opens them: models, archives, tables and settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.exit_codes import OF_ANSWER
from headway.reporting.gates.formats import SCAN, write_reports
from headway.reporting.gates.scan import OF_VERDICT
from headway.security.scan import scan_files


def plugin(
    path: Path,
    /,
    *,
    format: Annotated[tuple[str, ...], Parameter(negative=())] = ("text",),
    json: bool = False,
) -> int:
    """Judge a file, or every file of a folder. Exit 1 if one is unsafe, 3 if one is not judged, else 0.

    Nothing in a file is imported, run or written. A file is safe only if all of it was read and is on a list of
    harmless things; what cannot be judged is never safe.

    Example: headway scan model.txt
    Example: headway scan headway-demo

    Parameters
    ----------
    path
        File, archive or folder; links are not followed.
    format
        `text`, `json`, `junit`, `sarif`, `markdown` or `github` (step summary and outputs): printed, or written to a
        file with `=FILE`. May be repeated.
    json
        Print one JSON object: the verdict, and each file with its problems.
    """
    found = scan_files(path)
    write_reports(found, ["json"] if json else format, os.environ, SCAN)
    return OF_ANSWER[OF_VERDICT[found.verdict]]
