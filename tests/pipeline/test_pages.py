"""The shell blocks of each page run from top to bottom, and print the output that the page shows.

The reader has finished the tutorial, and has a table and a model. `make` shows what it would do: CI does it.
"""

from __future__ import annotations

import doctest
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import lightgbm
import polars as pl
import pytest
from tests.house.pages import SHELL, Block, blocks_of, pages_with
from tests.house.source_tree import ROOT
from tests.pipeline.projects import table
from tests.pipeline.receiver import lineage_receiver
from tests.ports import free_port

pytestmark = pytest.mark.services  # the pages use curl
TUTORIAL = "docs/tutorial.md"
ELSEWHERE = (
    "docs/ci.md",
    "docs/how-to/edge.md",
    "docs/how-to/plan.md",
    "docs/how-to/split.md",
    "docs/how-to/team.md",
    "docs/mlflow.md",
    "docs/scan.md",
    "docs/stores.md",
)
"""Pages that run in a test of their own, with the servers or files that they need."""
OTHERS = [page for page in pages_with("bash", "console", "sh") if page not in (TUTORIAL, *ELSEWHERE)]
# To save time, only the long test of the tutorial searches all variants.
FEW = {"HEADWAY_OPTIMIZE_TRANSFORMS": '["onnx"]'}
AT_MOST_S = "180"
AS_SHOWN = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Verdicts are answers: 3 is undecided, a watch may report degradation, and nothing may have the key to erase. An error
# (2) is not. Timed commands run on one core: threads of two processes that wait for each other make a search take
# minutes.
HEADWAY = """#!/bin/sh
case $1 in access|check|evaluate|optimize|watch|retrain|erase|scan|probing|threats) ;; *) exec "{headway}" "$@" ;; esac
taskset --cpu-list {core} "{headway}" "$@" && exit
code=$?
case $1$code in *[a-z]3|watch1|erase1|access1|threats1) exit ;; esac
exit $code
"""
BEGIN = """set -eum
make() { command make --dry-run --directory "$ROOT" "$@"; }
leave() { for job in $(jobs -p); do kill -- "-$job" && wait "$job" || true; done; }
trap 'echo "stopped at $at" >&2' ERR
trap leave EXIT
"""


def commands_and_outputs(block: Block) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with the output that the page shows, or an empty string."""
    for part in f"\n{block.text}".split("\n$ ")[1:]:
        command, _, prints = part.partition("\n")
        yield command, prints


def commands(block: Block) -> Iterator[str]:
    """Yield the shell lines of a block: a file to write, or commands.

    Each console command prints into a separate file.
    """
    if block.file and block.language not in SHELL:
        yield f"cat > {block.file} << 'END_OF_FILE'\n{block.text}END_OF_FILE"
    elif block.language == "console":
        for number, (command, _) in enumerate(commands_and_outputs(block)):
            background = command.endswith("&")
            yield command if background else f'{{ {command}\n}} > "$PRINTED/{block.line}.{number}" 2>&1'
    elif block.language in SHELL:
        yield block.text


def run(page: str, folder: Path, *, at_most_s: str = AT_MOST_S, **variables: str) -> Path:
    """Run a page in a folder with these environment variables.

    Return the folder with the output of its console commands.
    """
    printed, programs = folder / ".printed", folder / ".bin"
    for created in (printed, programs):
        created.mkdir(exist_ok=True)
    installed = Path(sys.executable).parent
    core = min(os.sched_getaffinity(0))
    (programs / "headway").write_text(HEADWAY.format(headway=installed / "headway", core=core), encoding="utf-8")
    (programs / "headway").chmod(0o755)
    steps = (f"at={block.at}\n{line}" for block in blocks_of(page) for line in commands(block))
    path = os.pathsep.join([str(programs), str(installed), os.environ["PATH"]])
    port = str(free_port())
    ended = subprocess.run(
        ["timeout", at_most_s, "bash", "-c", (BEGIN + "\n".join(steps)).replace("8080", port)],
        cwd=folder,
        env={
            **os.environ,
            "PATH": path,
            "HOME": str(folder),
            "ROOT": str(ROOT),
            "PRINTED": str(printed),
            "HEADWAY_SERVE_PORT": port,
            **variables,
        },
        check=False,
        capture_output=True,
        text=True,
    )
    last = "".join(file.read_text() for file in sorted(printed.iterdir(), key=lambda file: file.stat().st_mtime)[-1:])
    assert ended.returncode == 0, ended.stdout + ended.stderr + last
    return printed


@pytest.fixture(scope="module")
def tutorial_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a reader who has finished the tutorial."""
    folder = tmp_path_factory.mktemp("reader")
    run(TUTORIAL, folder, **FEW)
    return folder


@pytest.fixture
def reader(tutorial_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder, with a table and a fitted model of the reader."""
    folder = shutil.copytree(tutorial_folder, tmp_path / "reader", ignore=shutil.ignore_patterns(".printed"))
    shutil.copy(folder / "deliveries/train.py", folder)
    rows = own_rows()
    rows.write_parquet(folder / "table.parquet")
    rows.drop("departs_at").write_parquet(folder / "rows.parquet")
    learned = rows.filter(pl.col("date") < date(2013, 5, 1))
    data = lightgbm.Dataset(
        learned.select("hour", "wind").to_numpy(), learned["late"].to_numpy(), feature_name=["hour", "wind"]
    )
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1}
    lightgbm.train(settings, data, num_boost_round=5).save_model(folder / "model.txt")
    return folder


def own_rows() -> pl.DataFrame:
    """Return the 120 days of `table`, spread over every second day of eight months."""
    days = pl.duration(days=(pl.col("day") - pl.date(2013, 1, 1)).dt.total_days())
    rows = table().with_columns(departs_at=pl.col("at") + days)
    return rows.select("departs_at", "hour", "wind", "late", date=pl.col("departs_at").dt.date())


@pytest.mark.long
def test_the_tutorial_leads_to_a_live_release(tmp_path: Path) -> None:
    run(TUTORIAL, tmp_path)
    assert sum(block.language == "bash" for block in blocks_of(TUTORIAL)) > 3
    assert (tmp_path / "deliveries/.headway/releases/deliveries").is_dir()


@pytest.mark.parametrize("page", OTHERS)
def test_the_commands_of_a_page_run_from_top_to_bottom(page: str, reader: Path) -> None:
    with lineage_receiver() as lineage:
        printed = run(page, reader, **FEW, OPENLINEAGE_URL=lineage.url)
    check = doctest.OutputChecker()
    for block in (block for block in blocks_of(page) if block.language == "console"):
        for number, (command, shown) in enumerate(commands_and_outputs(block)):
            file = printed / f"{block.line}.{number}"
            if shown:
                printed_text = file.read_text()
                assert check.check_output(shown, printed_text, AS_SHOWN), f"{block.at}: {command}\n{printed_text}"
