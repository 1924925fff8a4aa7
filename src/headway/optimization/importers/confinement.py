"""Run a module without network, and with files that it can read but not change, as far as the kernel allows it.

E011: a trusted file was opened where the kernel did not confine it.

Usage: `python -m headway.optimization.importers.confinement FOLDER MODULE ARGUMENT...`. The module may write in FOLDER
only. The first line on stdout is a JSON list of what the kernel could not deny.

Landlock (Linux 5.13) keeps the process from writing, making and removing files; seccomp keeps it from making sockets
and rings of io_uring, and from changing modes, owners and attributes of files. Both need no rights, hold for children
and are final. They hold for the thread that asks: this module imports nothing that starts another.

References
----------
https://docs.kernel.org/userspace-api/landlock.html and https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import runpy
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

WRITING, CONNECTING = "change files", "open connections"
"""The rights that a process keeps where nothing confines it."""

_WRITE_FILE, _REMOVALS, _MAKES, _TRUNCATE = 1 << 1, 0b11 << 4, 0b1111111 << 6, 1 << 14
_SCOPES = 0b11  # abstract sockets and signals of processes outside
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _PATH_BENEATH, _VERSION = 444, 445, 446, 1, 1
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2

_IO_URING_SETUP, _FCHMODAT2 = 425, 452
_REFUSED_CALLS = {
    "x86_64": (0xC000003E, (41, 90, 91, 92, 93, 94, 188, 189, 190, 197, 198, 199, 260, 268)),
    "aarch64": (0xC00000B7, (198, 5, 6, 7, 14, 15, 16, 52, 53, 54, 55)),
}
"""By machine: its number in a filter, and those of socket and of the calls that change modes, owners and attributes."""


def main(folder: str, module: str, *arguments: str) -> None:
    """Confine this process, and run a module with arguments in it."""
    sys.stdout.write(json.dumps(confine(Path(folder))) + "\n")
    sys.stdout.flush()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def confine(folder: Path) -> list[str]:
    """Confine this process to reading, but in a folder, and deny it new sockets.

    Returns
    -------
    list of str
        What it may still do, since the kernel, or what runs headway, does not allow to deny it: of `WRITING` and
        `CONNECTING`.
    """
    if sys.platform != "linux":
        return [WRITING, CONNECTING]
    allowed = []
    steps: dict[str, Callable[[], None]] = {WRITING: partial(_deny_writing, folder), CONNECTING: _deny_calls}
    for name, deny in steps.items():
        try:
            deny()
        except OSError:
            allowed.append(name)
    return allowed


def _deny_writing(folder: Path) -> None:
    """Let this process change files in a folder only; raise OSError where Landlock is absent."""
    version = _call("syscall", _CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    in_file = _WRITE_FILE | (_TRUNCATE if version >= 3 else 0)
    denied = in_file | _REMOVALS | _MAKES
    fields = struct.pack("=QQQ", denied, 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 8
    ruleset = _call("syscall", _CREATE_RULESET, fields, ctypes.c_size_t(size), 0)
    try:
        for path, rights in ((folder, denied), (Path(os.devnull), in_file)):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                _call("syscall", _ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
            finally:
                os.close(descriptor)
        _call("prctl", _NO_NEW_PRIVILEGES, ctypes.c_ulong(1), *[ctypes.c_ulong(0)] * 3)
        _call("syscall", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _deny_calls() -> None:
    """Let calls that make sockets or change modes fail; raise OSError where seccomp or the machine is unknown."""
    architecture, calls = _REFUSED_CALLS.get(platform.machine(), (0, ()))
    if not calls or sys.maxsize < 1 << 32:
        raise OSError
    calls = (*calls, _IO_URING_SETUP, _FCHMODAT2)
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    allow, kill, refuse = 0x7FFF0000, 0x80000000, 0x00050000 | 13  # 13: permission denied
    count = len(calls)
    program = [
        (load, 0, 0, 4),  # the convention by which the call is made: no other has these numbers
        (equal, 0, count + 4, architecture),
        (load, 0, 0, 0),  # the number of the call
        (at_least, count + 2, 0, 1 << 30),  # x32, a second convention of x86
        *((equal, count - index, 0, call) for index, call in enumerate(calls)),
        (answer, 0, 0, allow),
        (answer, 0, 0, refuse),
        (answer, 0, 0, kill),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))
    _call("prctl", _NO_NEW_PRIVILEGES, ctypes.c_ulong(1), *[ctypes.c_ulong(0)] * 3)
    _call("prctl", _SET_SECCOMP, ctypes.c_ulong(_FILTER), header, ctypes.c_ulong(0), ctypes.c_ulong(0))


def _call(name: str, *arguments: object) -> int:
    """Call a function of the C library that sets errno; raise OSError if it fails."""
    answer: int = getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments)
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


if __name__ == "__main__":
    main(*sys.argv[1:])
