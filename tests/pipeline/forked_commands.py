"""Commands that tests kill and interrupt; a parent process that has their libraries loaded forks them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import lightgbm
import onnx
import onnxruntime
from tests.storage.stem import Say

from headway import pipeline
from headway.cli import main as cli
from headway.cli.demo.replay import server

LOADED = (pipeline, lightgbm, onnx, onnxruntime)


def command(say: Say, *words: str) -> None:
    """Run `headway` with these words; send `ready` before it starts."""
    say("ready")
    cli.main(words)


def serve_as_the_demo_does(folder: Path) -> None:
    """Print the address of a server of the demo, and wait for Ctrl-C, which is expected."""
    sys.stdout.write("begins\n")
    try:
        with server(folder, "flights@live") as address:
            sys.stdout.write(f"{address}\n")
            signal.pause()
    except KeyboardInterrupt:
        sys.stdout.write("interrupted\n")


if __name__ == "__main__":
    serve_as_the_demo_does(Path(sys.argv[1]))
