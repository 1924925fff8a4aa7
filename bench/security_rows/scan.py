"""Rows of `headway scan`: hostile files found, benign files flagged, imports, time, bombs, and four other scanners.

A file is found if it is not called safe, and flagged wrongly if it is benign and not called safe. The same holds for
the peers: a file that one cannot read, or skips, is not called clean.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cache import HERE, Absent, home
from harness import Result, Row, shown
from headway.scanning.files import judge_file
from security_rows import benign, corpora, hostile
from tiny import is_tiny

MIN_FOREIGN, MIN_OWN, MIN_BENIGN = 149, 60, 60
MEDIAN_MS, BOMB_S, BOMB_MB = 0.2, 1.0, 64
REPEATS = 5
MAX_BOMBS = 1000
PEER_S = 120  # for each folder of files
TINY = {"REPEATS": 1, "MAX_BOMBS": 3}
PEERS = ("picklescan", "modelscan", "modelaudit", "fickling")
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
before, began = peak(), time.perf_counter()
verdict = judge_file(path).verdict
print(time.perf_counter() - began, (peak() - before) / 1024, verdict.replace(" ", "_"))
"""


def rows() -> Result:
    """Scan the corpora with headway and with the peers."""
    with tempfile.TemporaryDirectory() as directory:
        folders = {name: Path(directory) / name for name in ("foreign", "own", "benign", "bombs")}
        for folder in folders.values():
            folder.mkdir()
        short = corpora.foreign(folders["foreign"])
        hostile.write(folders["own"])
        benign.write(folders["benign"])
        found = [*_of_headway(folders, short), _imports(folders, short), *_bombs(folders["bombs"], short)]
        for peer in PEERS:
            found += _of_peer(peer, folders, short)
    return found, short


def _of_headway(folders: dict[str, Path], short: list[str]) -> list[Row]:
    result: list[Row] = []
    minimum = {"foreign": MIN_FOREIGN, "own": MIN_OWN}
    milliseconds: list[float] = []
    for name, least in minimum.items():
        verdicts = {path.name: judge_file(path).verdict for path in sorted(folders[name].iterdir())}
        missed = [path for path, verdict in verdicts.items() if verdict == "safe"]
        count, n_found = len(verdicts), len(verdicts) - len(missed)
        short += [f"hostile files called safe ({name}): {', '.join(missed)}"] if missed else []
        enough = count >= least or is_tiny()
        against = f"{n_found:,} of {count:,} hostile files ({name}) not called safe"
        share = n_found / count if count else 0.0
        target = f"1 of >= {least}"
        ok = (not missed and enough) or (is_tiny() and not missed)
        result.append(Row(name=f"scan.found.{name}", measured=share, unit="", target=target, ok=ok, against=against))
        unsafe = sum(verdict == "unsafe" for verdict in verdicts.values())
        result.append(
            shown(f"scan.unsafe.{name}", unsafe / max(count, 1), "", f"{unsafe:,} of {count:,} called unsafe")
        )
    benign_files = sorted(folders["benign"].iterdir())
    wrong = [path.name for path in benign_files if judge_file(path).verdict != "safe"]
    short += [f"benign files not called safe: {', '.join(wrong)}"] if wrong else []
    enough = len(benign_files) >= MIN_BENIGN or is_tiny()
    against = f"{len(benign_files):,} files of fitted models and packages"
    target = f"0 of >= {MIN_BENIGN}"
    result.append(
        Row(
            name="scan.false",
            measured=len(wrong),
            unit="files",
            target=target,
            ok=not wrong and enough,
            against=against,
        )
    )
    for path in [*sorted(folders["foreign"].iterdir()), *sorted(folders["own"].iterdir())]:
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            judge_file(path)
            times.append(time.perf_counter() - began)
        milliseconds.append(1e3 * statistics.median(times))
    median = statistics.median(milliseconds)
    against = f"{len(milliseconds):,} hostile files, the file's read included, median of {REPEATS} runs each"
    result.append(
        Row(
            name="scan.median_ms",
            measured=median,
            unit="ms",
            target=f"<= {MEDIAN_MS}",
            ok=median <= MEDIAN_MS,
            against=against,
        )
    )
    result.append(shown("scan.slowest_ms", max(milliseconds), "ms", "the slowest of these files"))
    return result


def _imports(folders: dict[str, Path], short: list[str]) -> Row:
    """Count what a scan of all hostile files imports, compiles, runs or connects to."""
    both = Path(folders["own"].parent / "both")
    both.mkdir()
    for name in ("foreign", "own"):
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
    against = f"the worst of {len(contents)} bombs, each in a process of its own"
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
    result: list[Row] = []
    seconds: list[float] = []
    try:
        python = home(peer)
    except Absent as error:
        short.append(f"{peer}: {error}")
        return result
    for name in ("foreign", "own", "benign"):
        answer = folders[name].parent / f"{peer}-{name}.json"
        command = [str(python), str(HERE / "peers/scanners.py"), peer, str(folders[name]), str(answer)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=PEER_S)
        except subprocess.TimeoutExpired:
            short.append(f"{peer} was ended after {PEER_S} s on the files '{name}', and has no row for them")
            continue
        found = json.loads(answer.read_text("utf-8"))
        flagged, count = sum(value[0] for value in found.values()), len(found)
        seconds += [value[1] for value in found.values()] if name != "benign" else []
        if name == "benign":
            result.append(shown("scan.false", flagged, "files", f"{peer}, of {count:,}"))
        else:
            result.append(shown(f"scan.found.{name}", flagged / max(count, 1), "", f"{peer}: {flagged:,} of {count:,}"))
    median = 1e3 * statistics.median(seconds) if seconds else 0.0
    result.append(shown("scan.median_ms", median, "ms", f"{peer}, the process started and its modules loaded before"))
    return result
