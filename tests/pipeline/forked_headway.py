"""A command `headway` for scripts of a shell: a parent process that has its libraries loaded forks each call.

It has the folder, the environment, the streams and the cores of its caller, and times as briefly as the searches of
this process (tests/conftest.py).
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.pipeline.forked_commands import cli, time_briefly

CALL = """\
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as parent:
    parent.connect(sys.argv[1])
    call = [sys.argv[2:], os.getcwd(), dict(os.environ), list(os.sched_getaffinity(0))]
    socket.send_fds(parent, [b"x"], [0, 1, 2])
    parent.sendall(json.dumps(call).encode())
    parent.shutdown(socket.SHUT_WR)
    sys.exit(int(parent.recv(16) or b"1"))
"""


@contextmanager
def forked_headway() -> Iterator[Path]:
    """Start the parent, and yield a folder with the command."""
    with tempfile.TemporaryDirectory() as folder:
        address, command = Path(folder, "parent"), Path(folder, "headway")
        (Path(folder) / "call.py").write_text(CALL)
        words = [sys.executable, "-I", "-S", str(Path(folder, "call.py")), str(address)]
        command.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        command.chmod(0o755)
        with subprocess.Popen(
            [sys.executable, "-m", "tests.pipeline.forked_headway", str(address)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
        ) as parent:
            try:
                assert parent.stdout and parent.stdout.readline() == b"listens\n"
                yield Path(folder)
            finally:
                parent.terminate()


def serve(address: str) -> None:
    """Answer calls, one after the other."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        os.write(1, b"listens\n")
        while True:
            caller, _ = listener.accept()
            with caller:
                _answer(caller)


def _answer(caller: socket.socket) -> None:
    """Fork a process for one call, and send its exit code."""
    _, streams, _, _ = socket.recv_fds(caller, 1, 3)
    with caller.makefile("rb") as stream:
        words, folder, environment, cores = json.load(stream)
    child = os.fork()
    if not child:
        _be(streams, words, folder, environment, cores)
    for number in streams:
        os.close(number)
    caller.sendall(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _be(streams: list[int], words: list[str], folder: str, environment: dict[str, str], cores: list[int]) -> None:
    """Run one command and end, as `tests.storage.stem` does."""
    code: object = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os.sched_setaffinity(0, cores)
        time_briefly()
        cli.main(words)
    except SystemExit as leaving:
        code = leaving.code or 0
    finally:
        if sys.exception() is not None and not isinstance(sys.exception(), SystemExit):
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    serve(sys.argv[1])
