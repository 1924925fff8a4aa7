"""Ctrl-C ends a command soon, with a line that says how to go on; nothing is half-written, and no process is left.

At random moments in processes that a stem forks (`tests.storage.stem`), and in real commands with all their processes,
to which a terminal sends the signal.
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
from headway.core.record import digest_of
from headway.monitoring import rollout as control
from headway.registry.project import open_project
from headway.storage import segments, traffic

SOON_S = 10.0
LABELS = 100_000
HEADWAY = str(Path(sys.executable).with_name("headway"))
WORDS = {
    "labels": ("labels", "add", "labels.csv"),
    "retrain": ("retrain", "--mode", "auto", "--through", "live", "--why", "a test"),
    "optimize": ("optimize",),
}


class Ready(NamedTuple):
    """A command with a project that it is to work on, and where the copies of that are made."""

    words: tuple[str, ...]
    folder: Path
    place: Path


@pytest.fixture(params=WORDS)
def ready(request: pytest.FixtureRequest, tmp_path: Path) -> Ready:
    """A command that takes a while, and its project."""
    folder, place = tmp_path / "ready", tmp_path / "place"
    if request.param == "retrain":
        shutil.copytree(request.getfixturevalue("asked"), folder)
    else:
        folder.mkdir()
        {"labels": with_labels, "optimize": projects.write}[request.param](folder)
    words = (str(place / word) if (folder / word).is_file() else word for word in WORDS[request.param])
    return Ready((*words, "--project", str(place)), folder, place)


def with_labels(folder: Path) -> None:
    """A project, and a file of labels."""
    rollouts.project(folder)
    table = pl.DataFrame({"key": [f"k{number}" for number in range(LABELS)], "label": [1.0] * LABELS})
    table.write_csv(folder / "labels.csv")


@pytest.fixture(scope="module")
def child() -> Iterator[Stem]:
    with stem("tests.pipeline.commanding:command") as child:
        yield child


def expect_whole(folder: Path) -> None:
    """The chain and every blob are whole, and labels are there all or none.

    What lies aside, where it was just to be cleared away, is for the next one who writes there to sweep.
    """
    project = open_project(folder)
    assert isinstance(project.register.history(), tuple)
    for path in (folder / ".headway/blobs").rglob("*"):
        assert path.is_dir() or digest_of(path.read_bytes()) == f"sha256:{path.parent.name}{path.name}"
    kept = segments.segments(traffic.labels_folder(project.config.state, project.name))
    assert [len(pl.read_ipc_stream(path)) for path in kept] in ([], [LABELS])
    assert len(left_aside(folder)) <= 1


def expect_told(message: str, words: Sequence[str], *, code: int) -> None:
    """The last lines say what became of it and how to go on; there is no traceback."""
    again = shlex.join(["headway", *words])
    assert code == cli.INTERRUPTED and message.endswith(f"\n  to continue: {again}\n"), message
    assert message.splitlines()[-2].startswith("interrupted: ")
    assert not any(line.startswith("Traceback") for line in message.splitlines()), message


def interrupted(child: Stem, ready: Ready, count: int) -> None:
    """Interrupt a command so often at random moments of its time, each time from the start; then let it end."""
    shutil.copytree(ready.folder, ready.place)
    undisturbed = child.run(*ready.words)
    assert undisturbed.code == cli.PASS, child.output.read_text()

    def one(after_s: float) -> bool:
        shutil.rmtree(ready.place)
        shutil.copytree(ready.folder, ready.place)
        ended = child.run(*ready.words, after_s=after_s, number=signal.SIGINT)
        expect_whole(ready.place)
        if ended.code == cli.PASS:
            return False
        expect_told(child.output.read_text(), ready.words, code=ended.code)
        assert ended.seconds - after_s < SOON_S
        return True

    kills(one, count, Moments((0.0, undisturbed.seconds), seed=count, follow=True))
    assert child.run(*ready.words).code == cli.PASS
    assert not left_aside(ready.place / ".headway")


@pytest.mark.slow
def test_interrupted_twice_at_random_it_says_so_and_leaves_nothing_half_written(child, ready):
    interrupted(child, ready, 2)


@pytest.mark.long
def test_interrupted_10_times_at_random_it_says_so_and_leaves_nothing_half_written(child, ready):
    interrupted(child, ready, 10)


class Terminal:
    """A process with a process group of its own, as a terminal has it before it."""

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
        self.said = ""

    def hear(self, text: str) -> None:
        """Wait until a line with this text was printed."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line
            if text in line:
                return
        raise AssertionError(self.said)

    def children(self) -> list[str]:
        """The processes that it began."""
        return Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()

    def interrupt(self) -> int:
        """Ctrl-C: all of the group get it; the exit code, once nobody of the group is left."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.said += self.process.communicate(timeout=2 * SOON_S)[0]
        with pytest.raises(ProcessLookupError):
            os.killpg(self.process.pid, 0)
        return self.process.returncode


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Begins commands; at the end nothing of them is left, whatever the test found."""
    begun: list[Terminal] = []

    def begin(*command: str) -> Terminal:
        begun.append(Terminal(list(command)))
        return begun[-1]

    yield begin
    for each in begun:
        if each.process.poll() is None:
            os.killpg(each.process.pid, signal.SIGKILL)
            each.process.communicate()


@pytest.mark.slow
def test_a_server_that_is_interrupted_answers_what_is_in_flight_and_says_that_the_log_is_on_disk(terminal, tmp_path):
    rollouts.live(rollouts.project(tmp_path), rollouts.release())
    words = ["serve", "flights@live", "--project", str(tmp_path)]
    serve = terminal(HEADWAY, *words)
    serve.hear("listening on ")
    code = serve.interrupt()
    expect_told(serve.said, words, code=code)
    assert "the prediction log is on disk" in serve.said


@pytest.mark.slow
def test_a_rollout_that_is_no_longer_watched_stays_where_it_is(terminal, tmp_path):
    project = rollouts.project(tmp_path)
    rollouts.live(project, rollouts.release(made_at="May"))
    control.start_rollout(project, rollouts.publish(project, rollouts.release(made_at="June")), who="ann")
    words = ["rollout", "watch", "--project", str(tmp_path)]
    watch = terminal(HEADWAY, *words)
    watch.hear("shadow")
    code = watch.interrupt()
    expect_told(watch.said, words, code=code)
    assert control.latest_rollout(project).standing == "running"


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["as it begins", "as it serves"])
def test_the_server_of_the_demo_ends_with_the_one_who_began_it_and_says_nothing(terminal, tmp_path, moment):
    rollouts.live(rollouts.project(tmp_path), rollouts.release())
    demo = terminal(sys.executable, "-m", "tests.pipeline.commanding", str(tmp_path))
    demo.hear("begins")
    if moment == "as it serves":
        demo.hear("http://")
    began = time.monotonic()
    while not demo.children() and time.monotonic() < began + SOON_S:
        pass
    assert demo.children()
    assert demo.interrupt() == 0 and demo.said.splitlines()[-1] == "interrupted", demo.said


@pytest.mark.long
@pytest.mark.parametrize("stage", ["3. Train", "7. Serve"])
def test_the_demo_that_is_interrupted_says_so_and_leaves_no_process_and_a_whole_store(terminal, tmp_path, stage):
    words = ["demo", "--folder", str(tmp_path / "demo")]
    demo = terminal(HEADWAY, *words)
    demo.hear(stage)
    code = demo.interrupt()
    expect_told(demo.said, words, code=code)
    expect_whole(tmp_path / "demo")
