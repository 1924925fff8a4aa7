"""Row `scan.differential`: mutants that the scan judges safe, opened by the loaders of other libraries.

A disagreement is a mutant that the scan calls safe and on which a loader refers to a global that is not listed, runs
something, reads other members of an archive than Python's zipfile, or dies of memory, time or its stack.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import tempfile
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from cache import HERE, Absent, home
from harness import Result, Row, shown
from headway.scanning.allowed import is_listed
from headway.scanning.files import judge_bytes
from security_rows import mutations, techniques
from tiny import is_tiny

CASES, SEED = 20_000, 36
MAX_TECHNIQUES = 1000
TINY = {"CASES": 150, "MAX_TECHNIQUES": 12}
LIMITED = {
    "keras": ("keras",),
    "yaml": ("yaml", "ruamel"),
    "template": ("template",),
    "gguf": ("template",),
    "npy": ("numpy",),
    "safetensors": ("safetensors",),
}
"""Loaders whose memory, time and stack count, by the family of a mutant; all of them for pickles and archives."""

_Answers = dict[str, dict[str, dict[str, Any]]]


def rows() -> Result:
    """Judge mutants, and open those that are called safe."""
    short: list[str] = []
    verdicts: Counter[str] = Counter()
    families: Counter[str] = Counter()
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of members that overlap
        folder = Path(directory) / "safe"
        folder.mkdir()
        for number in range(CASES):
            family, (suffix, content) = mutations.mutant(rng)
            verdict = judge_bytes(content, name=f"{number}{suffix}").verdict
            verdicts[verdict] += 1
            families[family] += 1
            if verdict == "safe":
                (folder / f"{number:06d}-{family}{suffix}").write_bytes(content)
        loaders, answers = open_all(folder, short)
        n_safe = len(answers)
        wrong = {name: found for name, seen in answers.items() if (found := disagreements(folder / name, seen))}
    by_family = Counter(f"{_family(name)}: {found[0]}" for name, found in wrong.items())
    short += [f"scan.differential: {count:,} of {what}" for what, count in by_family.most_common(40)]
    counted = ", ".join(f"{family} {count:,}" for family, count in sorted(families.items()))
    opened = f"{n_safe:,} of them judged safe and opened by {', '.join(loaders)}"
    against = f"{CASES:,} mutants of seed {SEED} ({counted}); {opened}"
    count = len(wrong)
    others = f"{verdicts['unsafe']:,} mutants are unsafe, {verdicts['not judged']:,} not judged"
    return [
        Row(name="scan.differential", measured=count, unit="cases", target="0", ok=count == 0, against=against),
        shown("scan.differential.opened", n_safe, "files", others),
        _acted(short),
    ], short


def _acted(short: list[str]) -> Row:
    """Return the row of how many of the own hostile files a loader acts on: the others are hostile by claim only."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "techniques"
        folder.mkdir()
        for name, content in list(techniques.files().items())[:MAX_TECHNIQUES]:
            (folder / name).write_bytes(content)
        answers = open_all(folder, short)[1]
        idle = [name for name, seen in answers.items() if not disagreements(folder / name, seen)]
    short += [f"own techniques that no loader here acts on: {', '.join(idle)}"] if idle and not is_tiny() else []
    against = f"{len(answers) - len(idle):,} of {len(answers):,} own hostile files make a loader call, import, or die"
    return shown("scan.own_acted_on", 1 - len(idle) / len(answers), "share", against)


def open_all(folder: Path, short: list[str]) -> tuple[list[str], _Answers]:
    """Open the files of a folder with every loader that is installed; in tiny mode, those of this environment."""
    try:
        python = home("" if is_tiny() else "loaders")
    except Absent as error:
        short.append(f"loaders of this environment only, for want of others: {error}")
        python = home("")
    answer = folder.parent / f"{folder.name}.json"
    subprocess.run([str(python), str(HERE / "peers/loaders.py"), str(folder), str(answer)], check=True)
    found = json.loads(answer.read_text("utf-8"))
    return found["loaders"], found["files"]


def _family(name: str) -> str:
    return name.partition("-")[2].partition(".")[0]


def disagreements(path: Path, seen: dict[str, dict[str, Any]]) -> list[str]:
    """Return what the loaders of one file do that a safe file must not do, in short words."""
    found = []
    # A listed module that is not installed here is looked for, which does not count.
    modules = {name.partition("\n")[0] for answer in seen.values() for name in answer["globals"] if _is_known("", name)}
    listed_imports = {f"import {module}" for module in modules}
    for loader, answer in seen.items():
        events = [event for event in answer["events"] if event not in listed_imports]
        if events:
            found.append(f"{loader} {events[0]}")
        foreign = [name for name in answer["globals"] if not _is_known(loader, name)]
        if foreign:
            found.append(f"{loader} names {foreign[0].replace(chr(10), '.')[:80]}")
        if answer["end"] in ("memory", "time", "crash") and loader in LIMITED.get(_family(path.name), (loader,)):
            found.append(f"{loader} ends by {answer['end']}")
    members = seen.get("miniz", {}).get("members")
    if members and not _are_members(path, members):
        found.append("miniz reads other members than zipfile")
    return found


def _are_members(path: Path, members: dict[str, str]) -> bool:
    """Return whether Python's zipfile reads the same members; those of torch have no folder in their names."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            plain = {info.filename: hashlib.sha256(archive.read(info)).hexdigest()[:16] for info in infos}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error):
        return False
    roots = {name.partition("/")[0] for name in plain}
    return any({name.removeprefix(f"{root}/"): value for name, value in plain.items()} == members for root in roots)


def _is_known(loader: str, shown_name: str) -> bool:
    module, _, name = shown_name.partition("\n")
    if loader == "keras" and module.partition(".")[0] in ("keras", "None"):  # None: a name of its registry
        return True
    return is_listed(module, name) or (name == "getattr" and module in ("builtins", "__builtin__"))
