"""Ctrl-C ends a command soon, with a line that says how to continue; no partial file and no process remains.

Interrupts come at random times in forked processes (`tests.storage.stem`), and from a terminal to real commands with
all their processes.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from tests.monitoring import rollouts
from tests.pipeline import projects
from tests.storage.stem import ROOT, Moments, Stem, kills, left_aside, stem

from headway.cli import main as cli
from headway.cli.demo.replay import server
from headway.core.errors import StoreError
from headway.core.record import digest_of
from headway.monitoring import rollout as control
from headway.registry.project import open_project
from headway.storage import segments, traffic

SOON_S = 10.0
LABELS = 40_000
HEADWAY = str(Path(sys.executable).with_name("headway"))
WORDS = {
    "labels": ("labels", "add", "labels.csv"),
    "retrain": ("retrain", "--mode", "auto", "--through", "live", "--why", "a test"),
    "optimize": ("optimize",),
}


class Ready(NamedTuple):
    """A command, the project that it works on, and the folder of its copy."""

    words: tuple[str, ...]
    folder: Path
    copy: Path


@pytest.fixture(params=WORDS)
def ready(request: pytest.FixtureRequest, tmp_path: Path) -> Ready:
    """Return a command that takes some time, and its project."""
    folder, copy = tmp_path / "ready", tmp_path / "copy"
    if request.param == "retrain":
        shutil.copytree(request.getfixturevalue("ticket_folder"), folder)
    else:
        folder.mkdir()
        {"labels": with_labels, "optimize": projects.write}[request.param](folder)
    words = (str(copy / word) if (folder / word).is_file() else word for word in WORDS[request.param])
    return Ready((*words, "--project", str(copy)), folder, copy)


def with_labels(folder: Path) -> None:
    """Write a project, a file of labels, and a log that has their keys."""
    project = rollouts.project(folder)
    keys = [f"k{number}" for number in range(LABELS)]
    pl.DataFrame({"key": keys, "label": [1.0] * LABELS}).write_csv(folder / "labels.csv")
    segments.save(traffic.log_folder(project.config.state, project.name, "sha256:" + "1" * 64), {"key": keys})


@pytest.fixture(scope="module")
def child() -> Iterator[Stem]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADWAY_RETRAIN_SEEDS", "2")
        with stem("tests.pipeline.forked_commands:command") as child:
            yield child


def expect_intact(folder: Path) -> None:
    """Check that the chain and every blob are intact, and that all labels or none were saved.

    The next writer removes a temporary file that was about to be deleted.
    """
    project = open_project(folder)
    assert isinstance(project.registry.history(), tuple)
    for path in (folder / ".headway/blobs").rglob("*"):
        assert path.is_dir() or digest_of(path.read_bytes()) == f"sha256:{path.parent.name}{path.name}"
    paths = segments.segments(traffic.labels_folder(project.config.state, project.name))
    assert [len(pl.read_ipc_stream(path)) for path in paths] in ([], [LABELS])
    assert len(left_aside(folder)) <= 1


def expect_interrupted(message: str, words: Sequence[str], *, code: int) -> None:
    """Check that the last lines report the interrupt and how to continue, without a traceback."""
    again = shlex.join(["headway", *words])
    assert code == cli.INTERRUPTED and message.endswith(f"\n  to continue: {again}\n"), message
    assert message.splitlines()[-2].startswith("interrupted: ")
    assert not any(line.startswith("Traceback") for line in message.splitlines()), message


def interrupt_repeatedly(child: Stem, ready: Ready, count: int) -> None:
    """Interrupt a command `count` times at random times, each time from the start; then let it finish."""
    shutil.copytree(ready.folder, ready.copy)
    undisturbed = child.run(*ready.words)
    assert undisturbed.code == cli.PASS, child.output.read_text()

    def was_interrupted(after_s: float) -> bool:
        shutil.rmtree(ready.copy)
        shutil.copytree(ready.folder, ready.copy)
        ended = child.run(*ready.words, after_s=after_s, number=signal.SIGINT)
        expect_intact(ready.copy)
        if ended.code == cli.PASS:
            return False
        expect_interrupted(child.output.read_text(), ready.words, code=ended.code)
        assert ended.seconds - after_s < SOON_S
        return True

    kills(was_interrupted, count, Moments((0.0, undisturbed.seconds), seed=count, follow=True))
    assert child.run(*ready.words).code == cli.PASS
    assert not left_aside(ready.copy / ".headway")


@pytest.mark.slow
def test_a_random_interrupt_is_reported_and_leaves_no_partial_file(child, ready):
    interrupt_repeatedly(child, ready, 1)


@pytest.mark.long
def test_10_random_interrupts_are_reported_and_leave_no_partial_files(child, ready):
    interrupt_repeatedly(child, ready, 10)


class Terminal:
    """A process in its own process group, like the foreground process of a terminal."""

    def __init__(self, command: list[str]) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests/outside"), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""

    def wait_for(self, text: str) -> None:
        """Wait until a line with this text was printed."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line
            if text in line:
                return
        raise AssertionError(self.output)

    def children(self) -> list[str]:
        """Return the ids of its child processes."""
        return Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()

    def interrupt(self) -> int:
        """Send Ctrl-C to the process group; return the exit code once no process of the group is left."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.output += self.process.communicate(timeout=2 * SOON_S)[0]
        with pytest.raises(ProcessLookupError):
            os.killpg(self.process.pid, 0)
        return self.process.returncode


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Return a function that starts commands; kill those that are left at the end of the test."""
    terminals: list[Terminal] = []

    def start(*command: str) -> Terminal:
        terminals.append(Terminal(list(command)))
        return terminals[-1]

    yield start
    for terminal in terminals:
        if terminal.process.poll() is None:
            os.killpg(terminal.process.pid, signal.SIGKILL)
            terminal.process.communicate()


@pytest.mark.slow
def test_an_interrupted_server_answers_requests_in_flight_and_reports_that_the_log_is_on_disk(terminal, tmp_path):
    rollouts.live(rollouts.project(tmp_path), rollouts.release())
    words = ["serve", "flights@live", "--project", str(tmp_path)]
    serve = terminal(HEADWAY, *words)
    serve.wait_for("listening on ")
    code = serve.interrupt()
    expect_interrupted(serve.output, words, code=code)
    assert "the prediction log is on disk" in serve.output


@pytest.mark.slow
def test_a_rollout_keeps_its_stage_after_its_watch_is_interrupted(terminal, tmp_path):
    project = rollouts.project(tmp_path)
    rollouts.live(project, rollouts.release(made_at="May"))
    control.start_rollout(project, rollouts.publish(project, rollouts.release(made_at="June")), who="ann")
    words = ["rollout", "watch", "--project", str(tmp_path)]
    watch = terminal(HEADWAY, *words)
    watch.wait_for("shadow")
    code = watch.interrupt()
    expect_interrupted(watch.output, words, code=code)
    assert control.latest_rollout(project).status == "running"


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["starting", "serving"])
def test_the_server_of_the_demo_ends_silently_with_its_parent(terminal, tmp_path, phase):
    rollouts.live(rollouts.project(tmp_path), rollouts.release())
    demo = terminal(sys.executable, "-m", "tests.pipeline.demo_server", str(tmp_path))
    demo.wait_for("begins")
    if phase == "serving":
        demo.wait_for("http://")
    start = time.monotonic()
    while not demo.children() and time.monotonic() < start + SOON_S:
        pass
    assert demo.children()
    assert demo.interrupt() == 0 and demo.output.splitlines()[-1] == "interrupted", demo.output


@pytest.mark.slow
def test_the_demo_names_the_log_of_a_server_that_does_not_start(tmp_path, capfd):
    rollouts.project(tmp_path)
    with pytest.raises(StoreError, match="the server did not start") as error, server(tmp_path, "flights@live"):
        pass
    assert error.value.hint == f"see the end of {tmp_path / 'server.log'}" and capfd.readouterr() == ("", "")
    assert "flights" in (tmp_path / "server.log").read_text()


@pytest.mark.long
@pytest.mark.parametrize("stage", ["3. Train", "8. Serve"])
def test_an_interrupted_demo_reports_it_and_leaves_no_process_and_an_intact_store(terminal, tmp_path, stage):
    words = ["demo", "--folder", str(tmp_path / "demo")]
    demo = terminal(HEADWAY, *words)
    demo.wait_for(stage)
    code = demo.interrupt()
    expect_interrupted(demo.output, words, code=code)
    expect_intact(tmp_path / "demo")
