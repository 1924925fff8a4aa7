"""Rows of `headway scan`: hostile files found, benign files flagged, imports, time, bombs, and three other scanners.

A hostile file is found if it is not called safe; a benign one is flagged wrongly if it is called unsafe, and counted
apart if it is not judged. The same holds for the peers: a file that one cannot read, or skips, is not judged.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from cache import HERE, Absent, home
from harness import Result, Row, shown
from headway.scanning.files import judge_file
from security_rows import benign, corpora, hostile, techniques
from tiny import is_tiny

MIN_TECHNIQUES, MIN_BENIGN = 100, 60
MEDIAN_MS, BOMB_S, BOMB_MB = 0.2, 1.0, 64
REPEATS = 5
MAX_BOMBS = 1000
PEER_S = 900  # for each folder of files
TINY = {"REPEATS": 1, "MAX_BOMBS": 3}
PEERS = ("picklescan", "picklescan --strict", "modelscan", "fickling")
OWN, TECHNIQUES = "own tricks", "own techniques"
WATCHED = """
import json, sys
from pathlib import Path
from headway.scanning.files import judge_bytes, judge_file
folders = [Path(name) for name in sys.argv[1:]]
for path in folders[1].iterdir():
    judge_file(path)
# What the readers themselves load at their first use: codecs, and the types of a header.
header = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
for name, content in (("a.pkl", b"Va\\n."), ("a.safetensors", len(header).to_bytes(8, "little") + header + bytes(4))):
    judge_bytes(content, name=name)
"".encode("cp437")
WATCHED = "os subprocess socket ctypes shutil webbrowser exec compile import pickle".split()
events = []
known = set(sys.modules)
def hook(event, arguments):
    if event.split(".")[0] in WATCHED:
        if not event.startswith(("os.scandir", "os.listdir", "os.remove")):
            events.append(event + " " + str(arguments[0])[:80] if arguments else event)
sys.addaudithook(hook)
for path in folders[0].iterdir():
    judge_file(path)
print(json.dumps({"events": events[:20], "count": len(events) + len(set(sys.modules) - known)}))
"""
BOMB = """
import resource, sys, time
from pathlib import Path
from headway.scanning.files import judge_bytes, judge_file
judge_bytes(b"", name="a")
path = Path(sys.argv[1])
def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
before, began = peak(), time.process_time()
verdict = judge_file(path).verdict
print(time.process_time() - began, (peak() - before) / 1024, verdict.replace(" ", "_"))
"""


def rows() -> Result:
    """Scan the corpora with headway and with the peers."""
    with tempfile.TemporaryDirectory() as directory:
        names = ("foreign", OWN, TECHNIQUES, "benign", "bombs")
        folders = {name: Path(directory) / name for name in names}
        for folder in folders.values():
            folder.mkdir()
        short = corpora.write(folders["foreign"], folders["benign"])
        hostile.write(folders[OWN])
        techniques.write(folders[TECHNIQUES])
        short += benign.write(folders["benign"])
        verdicts = {
            name: {path.name: judge_file(path).verdict for path in sorted(folders[name].iterdir())}
            for name in names[:4]
        }
        found = [*_rows_of("headway", verdicts, short), *_times(folders), _imports(folders, short)]
        found += _bombs(folders["bombs"], short)
        for peer in PEERS:
            found += _of_peer(peer, folders, short)
    return found, short


def _rows_of(scanner: str, verdicts: Mapping[str, Mapping[str, str]], short: list[str]) -> list[Row]:
    """Return the rows of a scanner; what headway misses is named in `short`."""
    is_own = scanner == "headway"
    hostile_files = [
        (_corpus(folder, name), name, verdict)
        for folder, judged in verdicts.items()
        if folder != "benign"
        for name, verdict in judged.items()
    ]
    count = Counter(corpus for corpus, _, _ in hostile_files)
    found = Counter(corpus for corpus, _, verdict in hostile_files if verdict != "safe")
    missed = sorted(name for _, name, verdict in hostile_files if verdict == "safe")
    short += [f"hostile files called safe: {', '.join(missed)}"] if is_own and missed else []
    listed = ", ".join(f"{corpus} {found[corpus]:,} of {total:,}" for corpus, total in sorted(count.items()))
    share = found.total() / max(count.total(), 1)
    unsafe = sum(verdict == "unsafe" for _, _, verdict in hostile_files)
    against = (
        f"{scanner}: {found.total():,} of {count.total():,} hostile files not called safe, {unsafe:,} unsafe ({listed})"
    )
    enough = count[TECHNIQUES] >= MIN_TECHNIQUES
    target = f"1 with >= {MIN_TECHNIQUES} own" if is_own else "shown"
    ok = not is_own or (not missed and enough)
    result = [Row(name="scan.found", measured=share, unit="share", target=target, ok=ok, against=against)]
    judged = verdicts.get("benign", {})
    if not judged:
        return result
    flagged = sorted(name for name, verdict in judged.items() if verdict == "unsafe")
    unread = sorted(name for name, verdict in judged.items() if verdict == "not judged")
    short += [f"benign files called unsafe: {', '.join(flagged)}"] if is_own and flagged else []
    kinds = Counter(Path(name).suffix or "no suffix" for name in unread)
    listed = ", ".join(f"{kind} {number:,}" for kind, number in kinds.most_common(8))
    enough = len(judged) >= MIN_BENIGN or is_tiny()
    against = f"{scanner}: {len(flagged):,} of {len(judged):,} benign files called unsafe"
    target = f"0 of >= {MIN_BENIGN}" if is_own else "shown"
    ok = not is_own or (not flagged and enough)
    share = len(flagged) / len(judged)
    result.append(Row(name="scan.false", measured=share, unit="share", target=target, ok=ok, against=against))
    against = f"{scanner}: {len(unread):,} of {len(judged):,} benign files not judged" + (
        f" ({listed})" if listed else ""
    )
    result.append(shown("scan.not_judged", len(unread) / len(judged), "share", against))
    return result


def _corpus(folder: str, name: str) -> str:
    """Return the name of the corpus of a file: a file of others begins with it."""
    if folder != "foreign":
        return folder
    return re.sub(r"\.kinds$", "'s kinds", name.partition("-")[0])


def _times(folders: dict[str, Path]) -> list[Row]:
    milliseconds: list[float] = []
    for path in [*sorted(folders["foreign"].iterdir()), *sorted(folders[OWN].iterdir())]:
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            judge_file(path)
            times.append(time.perf_counter() - began)
        milliseconds.append(1e3 * statistics.median(times))
    median = statistics.median(milliseconds)
    against = f"{len(milliseconds):,} hostile files, the file's read included, median of {REPEATS} runs each"
    ok = median <= MEDIAN_MS
    return [
        Row(name="scan.median_ms", measured=median, unit="ms", target=f"<= {MEDIAN_MS}", ok=ok, against=against),
        shown("scan.slowest_ms", max(milliseconds), "ms", "the slowest of these files"),
    ]


def _imports(folders: dict[str, Path], short: list[str]) -> Row:
    """Count what a scan of all hostile files imports, compiles, runs or connects to."""
    both = folders[OWN].parent / "both"
    both.mkdir()
    for name in ("foreign", OWN, TECHNIQUES):
        for path in folders[name].iterdir():
            (both / f"{name}-{path.name}").write_bytes(path.read_bytes())
    command = [sys.executable, "-c", WATCHED, str(both), str(folders["benign"])]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    short += [f"events of a scan: {', '.join(report['events'])}"] if report["count"] else []
    against = "imports, compiled code, processes, sockets: audit events of Python while every hostile file is scanned"
    count = report["count"]
    return Row(name="scan.imports", measured=count, unit="", target="0", ok=count == 0, against=against)


def _bombs(folder: Path, short: list[str]) -> list[Row]:
    worst_s = worst_mb = 0.0
    contents = dict(list(hostile.bombs(small=is_tiny()).items())[:MAX_BOMBS])
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        command = [sys.executable, "-c", BOMB, str(folder / name)]
        run = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        seconds, megabytes, verdict = float(run[0]), float(run[1]), run[2]
        if verdict == "safe" or seconds > BOMB_S or megabytes > BOMB_MB:
            short.append(f"{name}: {verdict.replace('_', ' ')} after {seconds:.2f} s and {megabytes:.0f} MB")
        worst_s, worst_mb = max(worst_s, seconds), max(worst_mb, megabytes)
    against = f"the worst of {len(contents)} bombs, each in a process of its own; CPU time"
    return [
        Row(
            name="scan.bomb_s",
            measured=worst_s,
            unit="s",
            target=f"<= {BOMB_S:g}",
            ok=worst_s <= BOMB_S,
            against=against,
        ),
        Row(
            name="scan.bomb_mb",
            measured=worst_mb,
            unit="MB",
            target=f"<= {BOMB_MB}",
            ok=worst_mb <= BOMB_MB,
            against=against,
        ),
    ]


def _of_peer(peer: str, folders: dict[str, Path], short: list[str]) -> list[Row]:
    try:
        python = home(peer.partition(" ")[0])
    except Absent as error:
        short.append(f"{peer}: {error}")
        return []
    seconds: list[float] = []
    verdicts: dict[str, dict[str, str]] = {}
    for name in ("foreign", OWN, TECHNIQUES, "benign"):
        answer = folders[name].parent / f"{peer}-{name}.json"
        command = [str(python), str(HERE / "peers/scanners.py"), peer, str(folders[name]), str(answer)]
        try:
            subprocess.run(command, check=False, capture_output=True, timeout=PEER_S)
        except subprocess.TimeoutExpired:
            short.append(f"{peer} was ended after {PEER_S} s on the files '{name}': it is judged by those before")
        found = json.loads(answer.read_text("utf-8")) if answer.exists() else {}
        if len(found) < len(list(folders[name].iterdir())):
            short.append(f"{peer} judged {len(found):,} of the files '{name}' before its process ended")
        verdicts[name] = {path: verdict for path, (verdict, _) in found.items()}
        seconds += [passed for _, passed in found.values()] if name in ("foreign", OWN) else []
    median = 1e3 * statistics.median(seconds) if seconds else 0.0
    against = f"{peer}, the process started and its modules loaded before"
    return [*_rows_of(peer, verdicts, short), shown("scan.median_ms", median, "ms", against)]
