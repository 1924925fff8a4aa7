"""The shell blocks of the pages that lead by the hand are run, from top to bottom, as a reader would."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.source_tree import ROOT

PAGES = ["docs/tutorial.md"]
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    script = "set -eum\n" + "\n".join(blocks).replace("8080", free_port())
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "HOME": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert len(blocks) > 3 and run.returncode == 0, run.stdout + run.stderr
