"""The end of the demo on a terminal: the dashboard, and a link that signs in without another command."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection

import pytest

END = (
    "import sys; from pathlib import Path; from headway.cli.commands.demo import start_dashboard;"
    "start_dashboard(Path(sys.argv[1]))"
)


@pytest.mark.slow
def test_the_link_that_the_demo_ends_with_signs_in_and_an_interrupt_ends_the_demo_well(tmp_path):
    trust = "".join(
        f'{name} = "{tmp_path}/{name}"\n' for name in ("trusted_keys", "publisher_key", "operator_key", "operator_keys")
    )
    (tmp_path / "headway.toml").write_text(f'[project]\nname = "flights"\n[trust]\n{trust}')
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", END, str(tmp_path)], stdin=theirs, stdout=theirs, stderr=theirs
    ) as demo:
        os.close(theirs)
        try:
            screen = ""
            while "ends the dashboard" not in screen:
                screen += os.read(ours, 4096).decode()
            host, secret = re.search(r"http://(127\.0\.0\.1:\d+)/sign-in/link\?secret=([\w-]+)", screen).groups()
            connection = HTTPConnection(host, timeout=60)
            headers = {"Origin": f"http://{host}", "Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", "/sign-in/link", f"secret={secret}", headers)
            response = connection.getresponse()
            assert (response.status, response.getheader("location")) == (303, "/")
            connection.close()
            demo.send_signal(signal.SIGINT)
            assert demo.wait(60) == 0
        finally:
            demo.kill()
    os.close(ours)


@pytest.mark.slow
@pytest.mark.parametrize("on_path", [True, False])
def test_in_a_pipe_the_demo_prints_the_command_and_waits_for_nothing(tmp_path, on_path):
    program = tmp_path / "headway"
    program.touch(mode=0o755)
    code = (
        "import sys; from headway.cli.commands import demo; from pathlib import Path;"
        "sys.argv[0] = '.venv/bin/headway';"
        "demo.run = lambda folder: print(folder / 'report.html'); demo.plugin(folder=Path('my demo'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PATH": str(tmp_path if on_path else tmp_path / "empty")},
    )
    called = "headway" if on_path else ".venv/bin/headway"
    assert ran.stdout.splitlines()[-1] == f"to see it in a browser: {called} ui --project 'my demo'"
