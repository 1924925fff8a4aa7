"""Benchmark texts: kernel, selective answers next to peers, encoders, drift, and how long the commands take.

Each part is a function of bench/text_rows/. `--data` names a folder with CLINC150 (data_full.json of clinc/oos-eval);
without it the parts run on generated messages, on which no figure says anything about real ones but those of speed.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import Result, run_parts
from text_rows import audits, commands, drift, encoders, messages, selection, selective_peers, serving, speed

PARTS: dict[str, Callable[[], Result]] = {
    "words": speed.words,
    "characters": speed.characters,
    "selection": selection.certified,
    "resplits": selection.resplits,
    "withdrawals": audits.withdrawals,
    "shifts": audits.shifts,
    "peers": selective_peers.peers,
    "outside": selective_peers.outside,
    "commands": commands.seconds,
    "serve": serving.texts,
    "encoder": encoders.one_row,
    "static": encoders.static,
    "drift": drift.texts,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS, read_data=messages.read_from)
