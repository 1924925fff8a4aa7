"""Read a pickle without running it: every opcode, every global, and what is done with them.

Nothing is imported and no object is made. The machine follows the stack and the memo of a pickle with names, short
strings and integers only, so that a global is known however its name was put together. A pickle is safe if it refers
only to listed globals (`allowed`), and calls them with harmless arguments.
"""

from __future__ import annotations

import binascii
import codecs
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headway.core.arrays import Buffer
from headway.scanning.allowed import (
    COMPUTED,
    MAKERS,
    MAX_LENGTH,
    SIZED,
    UNVERIFIED,
    is_dangerous,
    is_exact,
    is_listed,
    is_only_named,
    judge_call,
    object_bytes,
)
from headway.scanning.verdicts import Problem

MAX_KEPT = 256
"""Characters of a string whose value is kept, to resolve the names of globals."""

MAX_STRINGS = 5_000_000
MAX_STEPS = 1 << 30
MAX_STACK = 1 << 18
MAX_DEPTH = 1 << 12
MAX_PICKLES = 10_000
MAX_NESTED = 3
MAX_HIDDEN_STEPS = 2_000
"""Opcodes that are followed of what may be a pickle inside of other bytes."""

MAX_LINE = 1 << 16
MAX_PROBLEMS = 20
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
MAX_LEVELS = 1_000
"""Levels of objects in objects: hashing or freeing them takes a frame of the C stack for each."""

MIN_MEMORY, MAX_GROWTH = 64 << 20, 20
"""Memory that a reader may need for a pickle: so many bytes, and so many more for each byte of it."""

MAX_ENTRIES = 64
"""Entries of a dictionary that are kept."""

_MEMO_BYTES, _LIST_BYTES, _DICT_BYTES, _SET_BYTES, _TUPLE_BYTES = 100, 72, 80, 232, 56
_KEY_BYTES, _ITEM_BYTES = 80, 8

MAX_TUPLES = 1 << 24
"""Elements of tuples in tuples, with repetitions: hashing visits each of them."""

_NOTES = frozenset(("__doc__", "__name__", "__module__", "__qualname__", "__wrapped__", "__version__"))
"""Special attributes that nothing calls."""

_STOP = ord(b".")
_WRAPPER = "NumpyArrayWrapper"
_BUILTINS = ("builtins", "__builtin__")
_CONSTRUCTORS = ("_reconstructor", "__newobj__", "__newobj_ex__")
_ENCODED = (b"gA", b"80")
"""How a pickle of protocol 2 or later begins in base64 and in hexadecimal digits."""

_ITEM = re.compile(r"[<>|=]?([a-zA-Z?])(\d*)")


class _DamagedError(Exception):
    """The stream ends early, or cannot be read."""


@dataclass(slots=True)
class _Global:
    module: str
    name: str
    listed: bool

    def __str__(self) -> str:
        return f"{self.module[:80]}.{self.name[:80]}"


_UNPICKLE_ZONE = (_Global("zoneinfo", "ZoneInfo", True), "_unpickle")


class _Made:
    """An object that the pickle makes by calling a global: its levels, and about how many bytes it takes."""

    __slots__ = ("args", "is_held", "item", "kind", "levels", "size", "state")

    def __init__(self, kind: _Global, args: Any, *, size: int = 0) -> None:
        self.kind, self.args, self.state = kind, args, None
        self.size, self.levels, self.is_held = size, 1, False
        self.item: tuple[int, bool] | None = None


@dataclass(slots=True)
class _Data:
    """Many bytes or characters."""

    size: int


@dataclass(slots=True)
class _Storage:
    """The numbers of a tensor, kept outside of the pickle."""

    count: int


class _List:
    """A list or a set: how many values it was given, and its levels."""

    __slots__ = ("count", "levels")

    def __init__(self) -> None:
        self.count, self.levels = 0, 1


class _Dictionary:
    """A dictionary: its first entries, how many it was given, and whether a key is, or may be, a special method."""

    __slots__ = ("count", "entries", "hooks", "levels")

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.count, self.levels = 0, 1
        self.hooks = False

    @property
    def is_complete(self) -> bool:
        """Return whether the entries are all, with no key given twice."""
        return self.count == len(self.entries)


@dataclass(slots=True)
class PickleScan:
    """What a pickle contains: its problems, the offset after its end, and the number of its globals."""

    problems: list[Problem]
    end: int
    n_globals: int = 0
    is_complete: bool = True


def scan_pickles(
    content: Buffer, *, start: int = 0, is_torch: bool = False, storages: Mapping[str, int] | None = None
) -> list[Problem]:
    """Return the problems of a file of pickles, one after another, and of what follows them.

    Parameters
    ----------
    content
        Bytes, or a mapped file.
    start
        Offset of the first pickle.
    is_torch
        Whether the storages of a torch file resolve its persistent ids.
    storages
        Bytes of each storage of the archive of which the pickle is a member; None without an archive.
    """
    data = content if isinstance(content, bytes) else memoryview(content)
    problems: list[Problem] = []
    position, count, size, spent = start, 0, len(data), 0
    sizes: dict[str, int] = {}
    is_legacy = False
    while position < size and count < MAX_PICKLES:
        if count and size - position < 16 and not bytes(data[position:]).strip():
            break  # old versions of numpy end a file with a line end
        machine = _Machine(data, position, is_torch=is_torch, storages=storages, spent=spent)
        found = machine.run()
        spent, sizes = machine.spent, sizes | machine.sizes
        if machine.n_arrays:
            found.problems += (
                _read_as_plain(data, position)
                if count == 0
                else [_unknown("pickle-trailing", "arrays of joblib after the first pickle", position)]
            )
        if count and not found.is_complete and not any(_is_sure(problem) for problem in found.problems):
            rest = f"{size - position:,} bytes follow the pickle"
            problems.append(_unknown("pickle-trailing", rest, position))
            break
        problems += found.problems
        if not found.is_complete:
            break
        is_legacy |= count == 0 and machine.answer == _TORCH_MAGIC
        is_torch = is_torch or is_legacy
        position, count = found.end, count + 1
        if is_torch and count == 5:  # the numbers of a file of an old torch follow
            problems += _judge_numbers(data, position, sizes) if is_legacy else []
            break
    if count >= MAX_PICKLES:
        problems.append(_unknown("pickle-limit", f"more than {MAX_PICKLES:,} pickles in one file", position))
    return first_problems(problems)


def _is_sure(problem: Problem) -> bool:
    """Return whether a problem counts although the pickle ends early: the reader acts before it finds the end."""
    return problem.is_unsafe or problem.code in ("pickle-limit", "pickle-depth")


def _read_as_plain(data: Any, start: int) -> list[Problem]:
    """Return the problems of a joblib file for `pickle.load`, which takes the numbers of its arrays for opcodes."""
    found = _Machine(data, start, reads_arrays=False).run()
    if found.is_complete:
        return found.problems
    named = ("pickle-global", "pickle-unknown-class", "pickle-argument")  # numbers call by chance what cannot be called
    return [problem for problem in found.problems if problem.code in named and "\0" not in problem.message]


def _judge_numbers(data: Any, start: int, sizes: Mapping[str, int]) -> list[Problem]:
    """Judge the numbers after the pickles of a legacy torch file: those of its storages, and no further pickle."""
    expected, there = sum(8 + size for size in sizes.values()), len(data) - start
    problems = _read_as_plain(data, start) if there else []
    if expected != there:
        message = f"its storages have {expected:,} bytes, and {there:,} follow its pickles"
        problems.append(_unknown("pickle-trailing", message, start))
    return problems


def referenced_globals(content: Buffer) -> set[tuple[str, str]]:
    """Return module and name of each global that the pickles of a file refer to, up to the first that is damaged."""
    data = content if isinstance(content, bytes) else memoryview(content)
    names: set[tuple[str, str]] = set()
    position = 0
    for _ in range(MAX_PICKLES):
        machine = _Machine(data, position, is_torch=True)
        found = machine.run()
        names |= machine.names
        if not found.is_complete or found.end >= len(data):
            break
        position = found.end
    return names


def find_leading(content: Buffer) -> list[Problem]:
    """Return the problems of the pickles that a file of another format begins with: what they call, and name."""
    data = content if isinstance(content, bytes) else memoryview(content)
    position = 0
    for _ in range(MAX_PICKLES):
        if position >= len(data) or _OPERATIONS[data[position]] is _unknown_opcode:
            break
        found = _Machine(data, position, nesting=MAX_NESTED).run()
        sure = [problem for problem in found.problems if _is_sure(problem)]
        # A word such as "cast", alone on a line of a text, reads as a reference; a call does not happen by chance.
        if not found.is_complete:
            by_chance = all(problem.code not in ("pickle-call", "pickle-limit", "pickle-depth") for problem in sure)
            return [] if by_chance else sure
        named = [problem for problem in found.problems if problem.is_unsafe or problem.code == "pickle-unknown-class"]
        if named:
            return named
        position = found.end
    return []


def looks_pickled(head: bytes) -> bool:
    """Return whether bytes begin as a pickle of protocol 2 or later, or as text of protocol 0 or 1."""
    if head[:1] == b"\x80":
        return head[1:2] in (b"\2", b"\3", b"\4", b"\5")
    if head[:1] == b"c":
        return bool(re.match(rb"c[\w.]+\r?\n[\w.]+\r?\n", head))
    return bool(re.match(rb"[\(\]\)\}IVSFLN]", head)) and _is_plain_pickle(head)


def _is_plain_pickle(head: bytes) -> bool:
    machine = _Machine(bytes(head), 0, nesting=MAX_NESTED)
    found = machine.run()
    return found.is_complete or (machine.steps > 8 and machine.n_globals > 0)


def find_hidden(content: Buffer, *, limit: int = 1 << 22, tries: int = 64) -> list[Problem]:
    """Return the unsafe problems of pickles that begin somewhere inside of bytes."""
    data = bytes(memoryview(content)[:limit])
    for match in list(re.finditer(rb"\x80[\x02-\x05]|c[\w.]{2,64}\n[\w.]{2,64}\n", data))[:tries]:
        found = _Machine(data, match.start(), nesting=MAX_NESTED, max_steps=MAX_HIDDEN_STEPS).run()
        unsafe = [problem for problem in found.problems if problem.is_unsafe]
        # Random bytes, such as weights, begin like a pickle now and then; they end early, and name no known danger.
        if unsafe and (found.is_complete or any(problem.code == "pickle-global" for problem in unsafe)):
            return unsafe
    return []


def first_problems(problems: list[Problem]) -> list[Problem]:
    """Return the problems without repetitions, the unsafe ones first, and not more than a person reads."""
    known: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        known.setdefault((problem.code, problem.message), problem)
    return sorted(known.values(), key=lambda problem: not problem.is_unsafe)[:MAX_PROBLEMS]


def _unsafe(code: str, message: str, offset: int) -> Problem:
    return Problem(code=code, message=message, location=f"byte {offset:,}")


def _unknown(code: str, message: str, offset: int) -> Problem:
    return Problem(code=code, message=message, location=f"byte {offset:,}", is_unsafe=False)


class _Machine:
    """Stack machine of one pickle that keeps names instead of objects."""

    def __init__(
        self,
        data: Any,
        start: int,
        *,
        is_torch: bool = False,
        nesting: int = 0,
        max_steps: int = MAX_STEPS,
        reads_arrays: bool = True,
        storages: Mapping[str, int] | None = None,
        spent: int = 0,
    ) -> None:
        self.data, self.position, self.end = data, start, len(data)
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.problems: list[Problem] = []
        self.is_torch, self.nesting, self.max_steps = is_torch, nesting, max_steps
        self.reads_arrays = reads_arrays
        self.n_globals = self.n_strings = self.n_arrays = self.n_elements = self.steps = 0
        self.heavy: dict[int, tuple[tuple[Any, ...], int]] = {}
        self.deep: dict[int, tuple[tuple[Any, ...], int]] = {}
        self.storages, self.sizes = storages, dict[str, int]()
        self.spent, self.max_spent = spent, MIN_MEMORY + MAX_GROWTH * self.end
        self.late_levels = 0
        self.names: set[tuple[str, str]] = set()
        self.answer: Any = None
        self.at = start
        self.getattr_at: int | None = None

    def run(self) -> PickleScan:
        """Read opcodes up to STOP, or to where the stream is damaged."""
        try:
            self.read_opcodes()
        except _DamagedError as error:
            reason = str(error)
        except IndexError:
            reason = "it ends early" if self.position >= self.end else "an opcode finds nothing on the stack"
        except (ValueError, KeyError, OverflowError):
            reason = "a damaged argument"
        else:
            self.judge_getattr()
            return PickleScan(self.problems, self.position, self.n_globals)
        self.judge_getattr()
        self.problems.append(_unknown("pickle-damaged", f"not a complete pickle: {reason}", self.at))
        return PickleScan(self.problems, self.position, self.n_globals, is_complete=False)

    def read_opcodes(self) -> None:
        """Follow the opcodes up to STOP."""
        data, operations = self.data, _OPERATIONS
        while True:
            self.at = at = self.position
            code = data[at]
            self.position = at + 1
            self.steps += 1
            if self.steps > self.max_steps:
                raise _DamagedError(f"more than {self.max_steps:,} opcodes")
            if code == _STOP:
                self.answer = self.stack[-1]
                return
            operations[code](self)

    # Arguments
    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        position = self.position
        if position + count > self.end:
            raise _DamagedError("it ends early")
        self.position = position + count
        return bytes(self.data[position : position + count])

    def number(self, count: int) -> int:
        """Return the next little-endian number."""
        return int.from_bytes(self.take(count), "little")

    def line(self) -> bytes:
        """Return the next line without its end."""
        position = self.position
        window = bytes(self.data[position : position + MAX_LINE])
        length = window.find(b"\n")
        if length < 0:
            raise _DamagedError("a line without an end" if len(window) == MAX_LINE else "it ends early")
        self.position = position + length + 1
        return window[:length]

    def text(self, count: int, encoding: str = "utf-8") -> None:
        """Push a string of so many bytes, with its value if it is short."""
        if count > 11 and self.nesting < MAX_NESTED and bytes(self.data[self.position : self.position + 2]) in _ENCODED:
            self.judge_encoded(count)
        if count > MAX_KEPT:
            self.payload(count)
            return
        value = self.take(count).decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")
        self.stack.append(value)
        if len(self.stack) > MAX_STACK:
            self.grow()

    def payload(self, count: int) -> None:
        """Push bytes, and judge a pickle in them."""
        start = self.position
        if start + count > self.end:
            raise _DamagedError("it ends early")
        self.position = start + count
        self.stack.append(_Data(count) if count > MAX_KEPT else None)
        if count > 3 and self.nesting < MAX_NESTED:
            head = bytes(self.data[start : start + 2])
            if (head[0] == 0x80 and 2 <= head[1] <= 5) or head[:1] in b"c(":
                self.judge_nested(start, count)

    def judge_encoded(self, count: int) -> None:
        """Add the unsafe problems of a pickle that a string holds in base64 or in hexadecimal digits."""
        value = bytes(self.data[self.position : self.position + min(count, MAX_LINE)])
        try:
            inner = binascii.a2b_base64(value) if value[:1] == b"g" else binascii.unhexlify(value)
        except ValueError:
            return
        found = _Machine(inner, 0, nesting=self.nesting + 1).run()
        for problem in found.problems:
            if problem.is_unsafe:
                self.problems.append(
                    _unsafe("pickle-nested", f"an encoded pickle in its text {problem.message}", self.at)
                )
                break

    def judge_nested(self, start: int, count: int) -> None:
        """Add the unsafe problems of a pickle in the bytes of this one."""
        inner = _Machine(self.data[start : start + count], 0, nesting=self.nesting + 1).run()
        for problem in inner.problems:
            if problem.is_unsafe:
                self.problems.append(_unsafe("pickle-nested", f"a pickle in its bytes {problem.message}", start))
                break

    def popped(self) -> list[Any]:
        """Return the values since the last mark."""
        if not self.marks:
            raise _DamagedError("no mark")
        values = self.stack
        self.stack = self.marks.pop()
        return values

    def add(self, problem: Problem) -> None:
        """Add a problem, unless there are many."""
        if len(self.problems) < 200 or problem.is_unsafe:
            self.problems.append(problem)
        if len(self.problems) > 1000:
            raise _DamagedError("too many problems to list")

    # Budgets
    def spend(self, count: int) -> None:
        """Count bytes that a reader needs for what the pickle makes."""
        self.spent += count
        if self.spent > self.max_spent:
            limit = f"{MIN_MEMORY >> 20} MB and {MAX_GROWTH} times its size"
            self.add(_unknown("pickle-limit", f"asks for more than {self.max_spent:,} bytes: {limit}", self.at))
            raise _DamagedError("it needs too much memory to be judged")

    def levels_of(self, values: Any) -> int:
        """Return how many levels of objects values have."""
        kinds = set(map(type, values))
        if kinds.isdisjoint(_NESTED):
            return 0
        levels = 0
        for value in values:
            kind = type(value)
            if kind is tuple:
                known = self.deep.get(id(value))
                levels = max(levels, known[1] if known else self.levels_of(value) + 1)
            elif kind in _NESTED:
                levels = max(levels, value.levels)
                if kind is _Made:
                    value.is_held = True
        return levels

    def expect_shallow(self, levels: int) -> None:
        """Refuse objects in objects of more levels than a stack has room for."""
        if levels + self.late_levels > MAX_LEVELS:
            message = f"nests objects more than {MAX_LEVELS:,} levels deep"
            self.add(_unknown("pickle-depth", message, self.at))
            raise _DamagedError("objects nested too deep")

    def deepen(self, target: Any, values: Any) -> None:
        """Note the levels of what is put into an object."""
        levels = self.levels_of(values)
        if type(target) is _Made and target.is_held:  # what holds it was counted before
            self.late_levels += levels
        if type(target) in _NESTED:
            target.levels = max(target.levels, levels + 1)
        self.expect_shallow(levels + 1)

    def bytes_of(self, value: Any) -> int:
        """Return about how many bytes a copy of a value takes, without those of objects that it refers to."""
        kind = type(value)
        if kind is tuple:
            own = sum(self.bytes_of(inner) for inner in value[:64] if type(inner) is not tuple)
            return own + _ITEM_BYTES * self.count_elements(value)
        if kind is str:
            return len(value)
        if kind is _Data or kind is _Made:
            return int(value.size)
        if kind is _List:
            return _ITEM_BYTES * int(value.count)
        return _KEY_BYTES * int(value.count) if kind is _Dictionary else 0

    # Globals and calls
    def refer(self, module: Any, name: Any) -> None:
        """Push a global, and judge the reference."""
        if type(module) is not str or type(name) is not str:
            if not self.reads_arrays:
                raise _DamagedError("numbers of an array that name nothing")
            self.add(_unsafe("pickle-name", "puts the name of a global together while it is read", self.at))
            self.stack.append(_Global("?", "?", False))
            return
        self.n_globals += 1
        self.names.add((module, name))
        listed = is_listed(module, name)
        self.stack.append(_Global(module, name, listed))
        if listed:
            return
        if name == "getattr" and module in _BUILTINS:
            self.getattr_at = self.at if self.getattr_at is None else self.getattr_at
            return
        shown = f"{module[:80]}.{name[:80]}"
        if is_dangerous(module, name):
            self.add(_unsafe("pickle-global", f"refers to {shown}, which is not on the list", self.at))
        else:
            self.add(_unknown("pickle-unknown-class", f"refers to {shown}, which is not on the list", self.at))

    def judge_getattr(self) -> None:
        """Add a problem for a reference to getattr that did not make a time zone, as Python pickles them."""
        if self.getattr_at is not None:
            message = "refers to builtins.getattr, which is not on the list"
            self.problems.append(_unsafe("pickle-global", message, self.getattr_at))

    def call(self, function: Any, args: Any) -> Any:
        """Judge a call, and return what it makes."""
        if type(function) is not _Global:
            self.add(_unsafe("pickle-call", "calls an object that it made itself", self.at))
            return None
        name = function.name
        if name == "getattr" and function.module in _BUILTINS and args == _UNPICKLE_ZONE:
            self.getattr_at = None
            return _Global("zoneinfo", "ZoneInfo._unpickle", True)
        if not function.listed:
            if UNVERIFIED.fullmatch(str(function)):
                message = f"calls {function}, which trusts the lengths in the file"
                self.add(_unknown("pickle-unverified", message, self.at))
            elif not name.startswith("__pyx_unpickle_") or is_dangerous(function.module, name):
                self.add(_unsafe("pickle-call", f"calls {function}, which is not on the list", self.at))
            return _Made(function, None)
        if type(args) is not tuple:
            self.add(_unsafe("pickle-argument", f"calls {function} with arguments that another call makes", self.at))
            return _Made(function, None)
        self.judge(function, args, is_called=True)
        if name in ("_reconstructor", "_reconstruct", "_mareconstruct"):
            self.spend(object_bytes(function.module, name))
            return self.make(args[0] if args else None, ())
        if name == "__newobj__":
            return self.make(args[0] if args else None, args[1:])
        if name == "__newobj_ex__":
            self.judge_keywords(args[2] if len(args) == 3 else None)
            return self.make(args[0] if args else None, args[1] if len(args) == 3 else None)
        if name in ("str", "unicode") and len(args) == 1 and type(args[0]) is str:
            return args[0]
        return self.made(function, args)

    def made(self, kind: _Global, args: Any) -> _Made:
        """Return an object of a class, or the result of a call, and count its bytes."""
        size = object_bytes(kind.module, kind.name)
        made = _Made(kind, args)
        if type(args) is tuple:
            size += sum(map(self.bytes_of, args))
            for value in args:
                if type(value) is _Dictionary:
                    size += sum(map(self.bytes_of, value.entries.values()))
            made.levels = self.levels_of(args) + 1
            self.expect_shallow(made.levels)
        if kind.module == "numpy" and kind.name == "ndarray" and args and args[0] != ():
            shape = args[0] if type(args[0]) is tuple else args[:1]
            if all(type(length) is int for length in shape):  # another one is refused by its arguments
                size += math.prod(shape) * self.item_bytes(args[1:2])
        elif kind.name == "scalar" and args and len(args) == 1:
            size += self.item_bytes(args)
        made.size = size
        self.spend(size)
        return made

    def item_bytes(self, dtypes: Any) -> int:
        """Return the bytes of an element of the type among arguments; add a problem if it is not known."""
        dtype: Any = dtypes[0] if dtypes else "d"
        is_bare = type(dtype) is _Made and dtype.kind.name == "dtype" and dtype.state is None and dtype.args
        size = _letter_bytes(dtype.args[0] if is_bare else dtype) or _item(dtype)[0]
        if not size:
            self.add(_unknown("pickle-array", "makes an array of a type that is not known", self.at))
        return size

    def make(self, kind: Any, args: Any) -> Any:
        """Return an object of a class that is made without a call of its own."""
        if type(kind) is not _Global:
            self.add(_unsafe("pickle-call", "makes an object of a class that it made itself", self.at))
            return None
        if kind.listed and type(args) is not tuple:
            self.add(_unsafe("pickle-argument", f"makes {kind} with arguments that another call makes", self.at))
        elif kind.listed:
            self.judge(kind, args, is_called=False)
        return self.made(kind, args)

    def judge(self, function: _Global, args: tuple[Any, ...], *, is_called: bool) -> None:
        """Judge the arguments of a listed function or class."""
        module, name = function.module, function.name
        reason = judge_call(module, name, args) or self.judge_objects(function, args)
        if not reason and is_called and is_only_named(module, name):
            reason = "is only to be referred to"
        if reason:
            self.add(
                _unsafe("pickle-argument", f"{'calls' if is_called else 'makes'} {function}, which {reason}", self.at)
            )
        elif args and not is_exact(module, name) and not self.is_plain_class_call(function, args, is_called=is_called):
            message = f"{'calls' if is_called else 'makes'} {function} with arguments that fitted models do not have"
            self.add(_unknown("pickle-argument", message, self.at))

    def judge_objects(self, function: _Global, args: tuple[Any, ...]) -> str:
        """Return why the objects and classes among arguments are not harmless; empty if they are."""
        name = function.name
        if name in SIZED:
            self.n_elements += sum(abs(value) for value in args if type(value) is int)
            if self.n_elements > MAX_LENGTH:
                return f"asks for {self.n_elements:,} elements in all"
        for value in args:
            kind = type(value)
            if kind is _Global and value.name == _WRAPPER and name not in _CONSTRUCTORS:
                return "makes an array of joblib in another way than joblib"
            if kind is _Made and (
                value.kind.name in ("range", "xrange") or (name in COMPUTED and value.kind.name != "encode")
            ):
                return f"computes with an object of {value.kind}"
        first: Any = args[0] if args else None
        if name == "_reconstructor":
            base = args[1] if len(args) == 3 else None
            if type(base) is not _Global or base.module not in _BUILTINS:
                return "takes the base of a class from an object"
        elif name in ("__generator_ctor", "__randomstate_ctor", "__bit_generator_ctor"):
            kinds = [value.kind if type(value) is _Made else value for value in args]
            if any(type(kind) is _Global and not kind.module.startswith("numpy.random.") for kind in kinds):
                return "calls its argument"
        elif name == "_rebuild_from_type_v2":
            if len(args) != 4 or type(first) is not _Global or first.module != "torch._utils" or first.name == name:
                return "calls its argument"
            self.call(first, args[2])
        elif name.startswith("_rebuild_parameter") or name == "Parameter":
            if type(first) is not _Made or not first.kind.name.startswith("_rebuild_"):
                return "reads another object than a tensor"
        elif name.startswith("_rebuild_tensor") and type(first) is not _Storage:
            return "reads another object than a storage"
        elif name.startswith("_rebuild_tensor") and _extent(args) > first.count:
            return f"reads {_extent(args):,} numbers of a storage of {first.count:,}"
        elif name in ("str", "unicode") and any(type(value) in (_List, _Dictionary, tuple) for value in args):
            return "writes a container as text"
        elif name.startswith("_new_"):
            table = args[1] if len(args) == 2 else None
            if not (type(table) is _Dictionary and table.is_complete and all(map(_is_array, table.entries.values()))):
                return "makes an index of other things than numbers and texts"
        return ""

    def is_plain_class_call(self, function: _Global, args: tuple[Any, ...], *, is_called: bool) -> bool:
        """Return whether a class of a library is given what its fitted objects give it: numbers and arrays."""
        root = function.module.partition(".")[0]
        if root in ("torch", "lightgbm", "xgboost", "catboost", "polars"):
            return False
        texts = not is_called or function.name.endswith("Dtype")
        total = 1
        for value in args:
            if type(value) is int:
                total *= max(abs(value), 1)
            elif (type(value) is str and not texts) or not _is_array(value):
                return False
        return total <= MAX_LENGTH

    def judge_keywords(self, values: Any) -> None:
        """Add a problem if an object is made with keywords, which are not judged."""
        if type(values) is not _Dictionary or values.count:
            self.add(_unknown("pickle-argument", "makes an object with keywords", self.at))

    def hold(self, values: list[Any] | tuple[Any, ...]) -> None:
        """Judge values that are put into a container: a function that makes objects is called, and never kept."""
        for value in values:
            if type(value) is _Global and value.name in MAKERS:
                self.add(
                    _unsafe("pickle-function", f"keeps the function {value}, which calls what it is given", self.at)
                )

    def bounded(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return a tuple that does not grow beyond measure by repeating others."""
        kinds = set(map(type, values))
        if _Global in kinds:
            self.hold(values)
        self.spend(_TUPLE_BYTES + _ITEM_BYTES * len(values))
        levels = 1 if kinds.isdisjoint(_NESTED) else self.levels_of(values) + 1
        if levels > 2 or len(values) > 16:
            self.deep[id(values)] = (values, levels)
        self.expect_shallow(levels)
        if tuple in kinds:
            count = self.count_elements(values)
            if count > 32:
                self.heavy[id(values)] = (values, count)
            if count > MAX_TUPLES:
                self.add(_unsafe("pickle-bomb", f"repeats tuples in tuples up to {count:,} elements", self.at))
                raise _DamagedError("tuples without measure")
        return values

    def count_elements(self, values: tuple[Any, ...]) -> int:
        """Return the number of elements of a tuple and of the tuples in it."""
        count = len(values)
        for value in values:
            if type(value) is tuple:
                known = self.heavy.get(id(value))
                count += known[1] if known else self.count_elements(value)
        return count

    def build(self) -> None:
        """Judge a state that is given to an object."""
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is _Global:
            self.add(_unsafe("pickle-build", f"changes the class or function {target}", self.at))
            return
        self.hold([state])
        parts = state if type(state) is tuple else (state,)
        if any(type(part) is _Dictionary and part.hooks for part in parts):
            self.add(_unsafe("pickle-hook", "sets a special method on an object", self.at))
        # Two parts can be the attributes of an object; more are read by a method of its class.
        if len(parts) <= 2 and any(type(part) is _Made and part.kind.listed and not _is_array(part) for part in parts):
            self.add(_unsafe("pickle-hook", "sets the state of an object to another object", self.at))
        self.spend(self.bytes_of(state))
        self.deepen(target, parts)
        if type(target) is _Made:
            self.judge_array(target, state)
            target.state = state
            target.size += self.bytes_of(state)
            if target.kind.name == _WRAPPER and target.kind.listed:
                self.n_arrays += 1
                if self.reads_arrays:
                    self.read_array(state)

    def judge_array(self, target: _Made, state: Any) -> None:
        """Judge the state of an array or of a type of numpy, which trusts much of it without a check."""
        module, name = target.kind.module, target.kind.name
        if module == "numpy.dtypes" or (module == "numpy" and name == "dtype"):
            # A type that an array has already must not change: its numbers would become objects.
            is_new = target.state is None and not target.is_held
            target.state, target.item = state, None
            if not is_new or state is None or not _item(target)[0]:
                self.add(_unknown("pickle-array", "gives a type of numpy a state that numpy does not write", self.at))
            return
        counts = {("numpy", "ndarray"): 5, (module, "MaskedArray"): 7}
        count = counts.get((module, name)) if target.kind.listed else None
        if count and not _is_array_state(state, count):
            self.add(_unknown("pickle-array", "gives an array a state that numpy does not write", self.at))

    def keys(self, target: Any, values: list[Any]) -> None:
        """Keep the first entries of a dictionary, and note keys that are special methods."""
        kind = type(target)
        if kind is _Global:
            self.add(_unsafe("pickle-build", f"changes {target}", self.at))
        if _Global in map(type, values):
            self.hold(values)
        self.spend(_KEY_BYTES * (len(values) // 2))
        self.deepen(target, values)
        if kind is not _Dictionary:
            return
        target.count += len(values) // 2
        for key in values[::2]:
            # Only a plain string is an attribute's name as it stands; a subclass of str is made by a call.
            if (type(key) is str and key[:2] == "__" == key[-2:] and key not in _NOTES) or type(key) is _Made:
                target.hooks = True
        if len(target.entries) < MAX_ENTRIES:
            for key, value in zip(values[: 2 * MAX_ENTRIES : 2], values[1 : 2 * MAX_ENTRIES : 2], strict=False):
                if type(key) is str:
                    target.entries[key] = value

    def extend(self, target: Any, values: list[Any]) -> None:
        """Judge values that are added to a list or set."""
        if _Global in map(type, values):
            self.hold(values)
        self.spend(_ITEM_BYTES * len(values))
        self.deepen(target, values)
        if type(target) is _List:
            target.count += len(values)
        elif type(target) is _Global:
            self.add(_unsafe("pickle-build", f"changes {target}", self.at))
        elif type(target) is _Made and target.kind.listed and not _is_container(target):
            # An object with attributes of its own can have an `append` that is any function.
            self.add(_unsafe("pickle-method", f"adds values by a method of {target.kind}", self.at))

    def read_array(self, state: Any) -> None:
        """Skip the raw numbers that joblib writes after the description of an array, or read the pickle there."""
        entries = state.entries if type(state) is _Dictionary and state.is_complete else {}
        shape = entries.get("shape")
        size, has_objects = _item(entries.get("dtype"))
        if not size or type(shape) is not tuple or any(type(length) is not int or length < 0 for length in shape):
            raise _DamagedError("an array of joblib whose shape or type is not known")
        if has_objects:
            inner = _Machine(
                self.data,
                self.position,
                is_torch=self.is_torch,
                nesting=self.nesting + 1,
                reads_arrays=False,
                spent=self.spent,
            )
            found = inner.run()
            self.spent, self.names = inner.spent, self.names | inner.names
            self.problems += found.problems
            self.position = found.end
            if not found.is_complete:
                raise _DamagedError("an array of objects")
            return
        if entries.get("numpy_array_alignment_bytes") is not None:
            self.take(self.number(1))
        size *= math.prod(shape)
        if size > self.end - self.position:
            raise _DamagedError("an array of joblib that is longer than the file")
        self.position += size

    def persistent(self, identity: Any) -> None:
        """Push an object that the reader resolves by an id."""
        is_storage = type(identity) is tuple and len(identity) >= 5 and identity[0] == "storage"
        if not (self.is_torch and is_storage):
            self.add(_unknown("pickle-persistent-id", "leaves an object to the program that reads it", self.at))
            self.stack.append(None)
            return
        _, kind, key, _, count = identity[:5]
        item = _STORAGES.get(kind.name, 0) if type(kind) is _Global else 0
        if not item or type(key) is not str or type(count) is not int or count < 0:
            self.add(_unknown("pickle-storage", "names a storage in another way than torch", self.at))
            count, item, key = 0, 0, ""
        there = count * item if self.storages is None else self.storages.get(key, -1)
        if there < count * item:
            message = f"asks for {count * item:,} bytes of the storage {key[:40]!r}, which has {max(there, 0):,}"
            self.add(_unknown("pickle-storage", message, self.at))
        if key not in self.sizes:
            self.sizes[key] = count * item
            self.spend(count * item if self.storages is None else 0)
        self.spend(object_bytes("torch", ""))
        self.stack.append(_Storage(count))

    def remember(self, index: int) -> None:
        """Keep the top of the stack in the memo."""
        if index > 2 * len(self.memo) + (1 << 16):  # a reader makes room for all entries below
            self.add(_unsafe("pickle-bomb", f"asks for a memo of {index:,} entries", self.at))
            return
        self.spend(_MEMO_BYTES)
        value = self.stack[-1]
        if type(value) is str:
            self.n_strings += 1
            if self.n_strings > MAX_STRINGS:
                raise _DamagedError(f"more than {MAX_STRINGS:,} texts")
        self.memo[index] = value

    def grow(self) -> None:
        """Refuse a stack that no real model needs."""
        if len(self.stack) > MAX_STACK or len(self.marks) > MAX_DEPTH:
            raise _DamagedError("it needs too large a stack to be judged")


_STORAGES = {
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage", "UntypedStorage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}
"""Bytes of an element of a torch storage."""

_OBJECTS = 1 | 2 | 8
"""Flags of numpy for a type that holds objects: they are counted, pickled in a list, and cleared first."""

_LETTERS = {
    **dict.fromkeys("?bB", 1),
    **dict.fromkeys("hHe", 2),
    **dict.fromkeys("iIf", 4),
    **dict.fromkeys("lLqQdFmMO", 8),
    **dict.fromkeys("gD", 16),
    "G": 32,
}


def _letter_bytes(dtype: Any) -> int:
    """Return the bytes of an element of a type that a text or a class of numpy names; 0 if it is not known."""
    if type(dtype) is _Global:
        digits = re.search(r"\d+", dtype.name)
        return 32 if dtype.module == "numpy" and (not digits or int(digits[0]) <= 256) else 0
    match = _ITEM.fullmatch(dtype) if type(dtype) is str else None
    if not match:
        return 0
    return int(match[2]) * (4 if match[1] == "U" else 1) if match[2] else _LETTERS.get(match[1], 0)


def _item(dtype: Any) -> tuple[int, bool]:
    """Return the bytes of an element of a type, 0 if that is not known, and whether it holds objects.

    The state of the type must be one that numpy writes: it checks neither the fields nor the flags.
    """
    if type(dtype) is not _Made:
        return 0, False
    if dtype.item is None:
        dtype.item = _judge_type(dtype)
    return dtype.item


def _judge_type(dtype: _Made) -> tuple[int, bool]:
    first = dtype.args[0] if dtype.kind.name == "dtype" and dtype.args else None
    match = _ITEM.fullmatch(first) if type(first) is str else None
    if not match:
        return 0, False
    size, has_objects, state = _letter_bytes(first), match[1] == "O", dtype.state
    if state is None:
        return size, has_objects
    if type(state) is not tuple or not 8 <= len(state) <= (9 if match[1] in "mM" else 8):
        return 0, False
    base, names, fields, claimed, _, flags = state[2:8]
    width = size
    if base is not None or names is not None or fields is not None:
        if match[1] != "V" or claimed != size:
            return 0, False
        width, has_objects = _judge_fields(names, fields, size) if base is None else _judge_base(base)
    is_sound = claimed in (-1, size) and width == size and _are_flags(flags, has_objects)
    return (size if is_sound else 0), has_objects


def _are_flags(flags: Any, has_objects: bool) -> bool:
    """Return whether numpy writes these flags for a type with objects, or for one without."""
    if type(flags) is not int or not 0 <= flags < 256:
        return False
    return flags & _OBJECTS == _OBJECTS if has_objects else not flags & 7


def _is_array_state(state: Any, count: int) -> bool:
    """Return whether a state of so many parts is one of an array: numpy does not count the objects in its list."""
    if type(state) is not tuple or len(state) != count:
        return False
    _, shape, dtype, _, values = state[:5]
    size, has_objects = _item(dtype)
    if not size or type(shape) is not tuple or any(type(length) is not int or length < 0 for length in shape):
        return False
    return (type(values) is _List) == has_objects and (not has_objects or values.count == math.prod(shape))


def _judge_fields(names: Any, fields: Any, size: int) -> tuple[int, bool]:
    """Return the bytes of a type with these fields, 0 if one is not sound, and whether they hold objects."""
    if type(fields) is not _Dictionary or not fields.is_complete or type(names) is not tuple:
        return 0, False
    if sorted(map(str, names)) != sorted(fields.entries) or any(type(name) is not str for name in names):
        return 0, False
    parts = [_field(entry, size) for entry in fields.entries.values()]
    return (size if all(part[0] for part in parts) else 0), any(part[1] for part in parts)


def _judge_base(base: Any) -> tuple[int, bool]:
    """Return the bytes of a type whose elements are arrays of another, 0 if that is not known."""
    if type(base) is not tuple or len(base) != 2:
        return 0, False
    width, has_objects = _item(base[0])
    shape = base[1] if type(base[1]) is tuple else (base[1],)
    return (width * math.prod(shape) if all(type(length) is int for length in shape) else 0), has_objects


def _field(entry: Any, size: int) -> tuple[int, bool]:
    """Return the bytes of a field of a type with so many bytes, 0 if it is not sound, and whether it holds objects."""
    if type(entry) is not tuple or len(entry) != 2 or type(entry[1]) is not int:
        return 0, False
    width, has_objects = _item(entry[0])
    return (width if 0 <= entry[1] <= size - width else 0), has_objects


def _extent(args: tuple[Any, ...]) -> int:
    """Return how many numbers of its storage a tensor reaches; more than there are if that is not known."""
    _, offset, sizes, strides = args[:4] if len(args) >= 4 else (None,) * 4
    if type(sizes) is not tuple or type(strides) is not tuple or len(sizes) != len(strides):
        return 1 << 62
    if any(type(value) is not int or value < 0 for value in (offset, *sizes, *strides)):
        return 1 << 62
    reach = sum((length - 1) * stride for length, stride in zip(sizes, strides, strict=True))
    return 0 if 0 in sizes else int(offset) + int(reach) + 1


def _is_array(value: Any) -> bool:
    """Return whether a value is a number, a text, or an object that has no attributes of the file's choice."""
    kind = type(value)
    if kind is tuple:
        return all(map(_is_array, value))
    if kind is not _Made:
        return value is None or kind in (int, str, _Data, _List)
    module, name = value.kind.module, value.kind.name
    root = module.partition(".")[0]
    return (
        root in ("numpy", "joblib", "_codecs", "datetime", "zoneinfo", "pytz", "pandas", "pyarrow")
        or name in ("bytes", "bytearray", "slice", "complex", "int", "float", "bool")
    ) and name not in ("DataFrame", "Series", "Flags", "partial")


def _is_container(made: _Made) -> bool:
    return (made.kind.module, made.kind.name) in _CONTAINERS


_NESTED = frozenset((tuple, _Made, _List, _Dictionary))

_CONTAINERS = frozenset((module, name) for module in _BUILTINS for name in ("list", "set")) | {("collections", "deque")}


def _unknown_opcode(machine: _Machine) -> None:
    raise _DamagedError(f"{machine.data[machine.at]:#04x} is not an opcode")


_Operation = Callable[[_Machine], None]
_OPERATIONS: list[_Operation] = [_unknown_opcode] * 256


def _operation(code: bytes) -> Callable[[_Operation], _Operation]:
    def register(function: _Operation) -> _Operation:
        _OPERATIONS[code[0]] = function
        return function

    return register


def _opaque(code: bytes, count: int) -> None:
    """Register an opcode that pushes data after so many bytes of argument."""

    def push(machine: _Machine) -> None:
        if count:
            machine.take(count)
        machine.stack.append(None)
        if len(machine.stack) > MAX_STACK:
            machine.grow()

    _OPERATIONS[code[0]] = push


for _code, _count in ((b"N", 0), (b"\x88", 0), (b"\x89", 0), (b"G", 8)):
    _opaque(_code, _count)


def _integer(code: bytes, count: int, *, signed: bool) -> None:
    def push(machine: _Machine) -> None:
        machine.stack.append(int.from_bytes(machine.take(count), "little", signed=signed))
        if len(machine.stack) > MAX_STACK:
            machine.grow()

    _OPERATIONS[code[0]] = push


_integer(b"J", 4, signed=True)
_integer(b"K", 1, signed=False)
_integer(b"M", 2, signed=False)


def _texts(code: bytes, count: int, encoding: str) -> None:
    def push(machine: _Machine) -> None:
        machine.text(machine.number(count), encoding)

    _OPERATIONS[code[0]] = push


for _code, _count, _encoding in (
    (b"\x8c", 1, "utf-8"),
    (b"X", 4, "utf-8"),
    (b"\x8d", 8, "utf-8"),
    (b"U", 1, "latin-1"),
    (b"T", 4, "latin-1"),
):
    _texts(_code, _count, _encoding)


def _payloads(code: bytes, count: int) -> None:
    def push(machine: _Machine) -> None:
        machine.payload(machine.number(count))

    _OPERATIONS[code[0]] = push


for _code, _count in ((b"C", 1), (b"B", 4), (b"\x8e", 8), (b"\x96", 8)):
    _payloads(_code, _count)


def _tuples(code: bytes, count: int) -> None:
    def push(machine: _Machine) -> None:
        stack = machine.stack
        if len(stack) < count:
            raise IndexError
        stack[-count:] = [machine.bounded(tuple(stack[-count:]))]

    _OPERATIONS[code[0]] = push


for _code, _count in ((b"\x85", 1), (b"\x86", 2), (b"\x87", 3)):
    _tuples(_code, _count)


@_operation(b"\x80")
def _protocol(machine: _Machine) -> None:
    version = machine.number(1)
    if version > 5:
        raise _DamagedError(f"protocol {version} is not known")


@_operation(b"\x95")
def _frame(machine: _Machine) -> None:
    if machine.number(8) > machine.end - machine.position:  # a reader may make room for it first
        machine.add(_unknown("pickle-frame", "a frame is longer than the file", machine.at))


@_operation(b"(")
def _mark(machine: _Machine) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []
    if len(machine.marks) > MAX_DEPTH:
        machine.grow()


@_operation(b"0")
def _pop(machine: _Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.popped()


@_operation(b"1")
def _pop_mark(machine: _Machine) -> None:
    machine.popped()


@_operation(b"2")
def _duplicate(machine: _Machine) -> None:
    machine.stack.append(machine.stack[-1])
    machine.grow()


@_operation(b"F")
def _float_line(machine: _Machine) -> None:
    machine.line()
    machine.stack.append(None)


@_operation(b"I")
@_operation(b"L")
def _integer_line(machine: _Machine) -> None:
    line = machine.line().rstrip(b"L\r")
    machine.stack.append(int(line) if len(line) < 64 else None)


@_operation(b"\x8a")
def _long(machine: _Machine) -> None:
    machine.stack.append(int.from_bytes(machine.take(machine.number(1)), "little", signed=True))


@_operation(b"\x8b")
def _long4(machine: _Machine) -> None:
    machine.payload(machine.number(4))


@_operation(b"S")
def _string_line(machine: _Machine) -> None:
    line = machine.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
        raise _DamagedError("a string without quotes")
    value = codecs.escape_decode(line[1:-1])[0]
    _push_line(machine, value.decode("latin-1"))


@_operation(b"V")
def _unicode_line(machine: _Machine) -> None:
    _push_line(machine, machine.line().decode("raw-unicode-escape"))


def _push_line(machine: _Machine, value: str) -> None:
    machine.stack.append(value if len(value) <= MAX_KEPT else None)
    if len(value) > 3 and machine.nesting < MAX_NESTED and value[:1] in "\x80c(":
        inner = value.encode("latin-1", "replace")
        found = _Machine(inner, 0, nesting=machine.nesting + 1).run()
        if found.is_complete and any(problem.is_unsafe for problem in found.problems):
            machine.add(_unsafe("pickle-nested", f"a pickle in its text {found.problems[0].message}", machine.at))


@_operation(b"P")
def _persistent_line(machine: _Machine) -> None:
    machine.persistent(machine.line())


@_operation(b"Q")
def _persistent(machine: _Machine) -> None:
    machine.persistent(machine.stack.pop())


@_operation(b"R")
def _reduce(machine: _Machine) -> None:
    args = machine.stack.pop()
    machine.stack[-1] = machine.call(machine.stack[-1], args)


@_operation(b"b")
def _build(machine: _Machine) -> None:
    machine.build()


@_operation(b"c")
def _global_lines(machine: _Machine) -> None:
    module, name = machine.line().decode(), machine.line().decode()
    machine.refer(module.strip("\r"), name.strip("\r"))


@_operation(b"\x93")
def _stack_global(machine: _Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.refer(module, name)


@_operation(b"i")
def _instance(machine: _Machine) -> None:
    module, name = machine.line().decode(), machine.line().decode()
    args = machine.bounded(tuple(machine.popped()))
    machine.refer(module.strip("\r"), name.strip("\r"))
    machine.stack[-1] = machine.call(machine.stack[-1], args)


@_operation(b"o")
def _object(machine: _Machine) -> None:
    values = machine.popped()
    made = machine.call(values[0], machine.bounded(tuple(values[1:])))
    machine.stack.append(made)


@_operation(b"\x81")
def _new_object(machine: _Machine) -> None:
    args = machine.stack.pop()
    machine.stack[-1] = machine.make(machine.stack[-1], args)


@_operation(b"\x92")
def _new_object_keywords(machine: _Machine) -> None:
    machine.judge_keywords(machine.stack.pop())
    args = machine.stack.pop()
    machine.stack[-1] = machine.make(machine.stack[-1], args)


def _extension(code: bytes, count: int) -> None:
    def push(machine: _Machine) -> None:
        number = machine.number(count)
        message = f"refers to entry {number} of the extension registry, which only the reader knows"
        machine.add(_unsafe("pickle-extension", message, machine.at))
        machine.stack.append(_Global("?", "?", False))

    _OPERATIONS[code[0]] = push


for _code, _count in ((b"\x82", 1), (b"\x83", 2), (b"\x84", 4)):
    _extension(_code, _count)


@_operation(b"]")
def _empty_list(machine: _Machine) -> None:
    machine.spend(_LIST_BYTES)
    machine.stack.append(_List())
    machine.grow()


@_operation(b"\x8f")
def _empty_set(machine: _Machine) -> None:
    machine.spend(_SET_BYTES)
    machine.stack.append(_List())
    machine.grow()


@_operation(b"}")
def _empty_dict(machine: _Machine) -> None:
    machine.spend(_DICT_BYTES)
    machine.stack.append(_Dictionary())
    machine.grow()


@_operation(b")")
def _empty_tuple(machine: _Machine) -> None:
    machine.stack.append(())
    machine.grow()


@_operation(b"d")
def _dict(machine: _Machine) -> None:
    values = machine.popped()
    machine.spend(_DICT_BYTES)
    table = _Dictionary()
    machine.keys(table, values)
    machine.stack.append(table)


@_operation(b"l")
@_operation(b"\x91")
def _list(machine: _Machine) -> None:
    machine.spend(_SET_BYTES if machine.data[machine.at] == 0x91 else _LIST_BYTES)
    values, target = machine.popped(), _List()
    machine.extend(target, values)
    machine.stack.append(target)


@_operation(b"t")
def _tuple(machine: _Machine) -> None:
    values = machine.bounded(tuple(machine.popped()))
    machine.stack.append(values)


@_operation(b"a")
def _append(machine: _Machine) -> None:
    value = machine.stack.pop()
    machine.extend(machine.stack[-1], [value])


@_operation(b"e")
@_operation(b"\x90")
def _appends(machine: _Machine) -> None:
    values = machine.popped()
    machine.extend(machine.stack[-1], values)


@_operation(b"s")
def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.keys(machine.stack[-1], [key, value])


@_operation(b"u")
def _set_items(machine: _Machine) -> None:
    values = machine.popped()
    machine.keys(machine.stack[-1], values)


@_operation(b"g")
def _get_line(machine: _Machine) -> None:
    machine.stack.append(machine.memo[int(machine.line())])


@_operation(b"h")
def _get(machine: _Machine) -> None:
    machine.stack.append(machine.memo[machine.number(1)])
    if len(machine.stack) > MAX_STACK:
        machine.grow()


@_operation(b"j")
def _get_long(machine: _Machine) -> None:
    machine.stack.append(machine.memo[machine.number(4)])


@_operation(b"p")
def _put_line(machine: _Machine) -> None:
    machine.remember(int(machine.line()))


@_operation(b"q")
def _put(machine: _Machine) -> None:
    machine.remember(machine.number(1))


@_operation(b"r")
def _put_long(machine: _Machine) -> None:
    machine.remember(machine.number(4))


@_operation(b"\x94")
def _memoize(machine: _Machine) -> None:
    machine.remember(len(machine.memo))


@_operation(b"\x97")
def _next_buffer(machine: _Machine) -> None:
    machine.add(_unknown("pickle-buffer", "keeps data outside of the file", machine.at))
    machine.stack.append(None)


@_operation(b"\x98")
def _readonly_buffer(machine: _Machine) -> None:
    machine.stack[-1] = machine.stack[-1]
