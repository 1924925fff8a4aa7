"""A server for kill tests, which gets requests and labels continuously; a stem forks it (`tests.storage.stem`)."""

from __future__ import annotations

import secrets
import threading
from itertools import count
from pathlib import Path

from tests.serving import plain_client as plain
from tests.storage.stem import Say

from headway.core import config
from headway.serving import process


def serve(say: Say, folder: str) -> None:
    """Serve `flights@live` to one caller; send `ready`, then the key of each request whose label was acknowledged."""
    caller = secrets.token_hex(8)

    def call(port: int) -> None:
        say("ready")
        for number in count():
            key = f"{caller}-{number}"
            assert plain.ask(port, [number] * 3, key=key).status == 200
            label = {"labels": [{"key": key, "label": number}]}
            assert plain.post(port, "/v2/models/flights/labels", label).status == 200
            say(key)

    def announce(listening: process.Listening) -> None:
        port = int(listening.addresses[0].rpartition(":")[2])
        threading.Thread(target=call, args=(port,), daemon=True).start()

    process.serve(config.load(Path(folder)), ["flights@live"], announce=announce)
