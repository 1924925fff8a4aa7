"""Tables and texts: parquet, Arrow, CSV, JSON, TOML and plain text."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from headway.core.arrays import Buffer
from headway.engines.formats.flatbuffer import root_table
from headway.scanning.allowed import NESTED, is_dangerous, is_listed
from headway.scanning.arrays import unknown, unsafe
from headway.scanning.graphs import leaves_folder
from headway.scanning.pickles import first_problems
from headway.scanning.templates import judge_prose, judge_template
from headway.scanning.verdicts import Problem

MAX_TEXT = 64 << 20
MAX_LINE = 16 << 20
MAX_SETTINGS = 4 << 20
MAX_NUMBER = 4_000
_PIECE = 1 << 20
_FORMULA = re.compile(
    rb"(?:^|[,;\t\r\n\"])\s*[=+@-]\s*(?:cmd|DDE|MSEXCEL|rundll32|powershell|HYPERLINK|WEBSERVICE|IMPORT(?:XML|DATA|HTML|FEED|RANGE)"
    rb"|CALL|EXEC|REGISTER\.ID)\s*[(|]",
    re.IGNORECASE,
)
_PICKLED_TYPE = b"arrow.py_extension_type"
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_MANY_DIGITS = re.compile(rb"[0-9]{%d}" % MAX_NUMBER)


_TAG_BYTES = 512
_TAG = re.compile(rb"(?:^|[\s\[{,:?-])(!<[^>\s]{1,%d}>|![^\s,\[\]{}]{1,%d})" % (_TAG_BYTES, _TAG_BYTES))
_CORE_TAG = re.compile(
    rb"!|!!(str|int|float|bool|null|map|seq|set|omap|pairs|binary|timestamp|merge|value)"
    rb"|!<tag:yaml\.org,2002:(str|int|float|bool|null|map|seq|set|omap|pairs|binary|timestamp)>"
)


def _judge_tags(text: bytes, start: int, *, is_yaml: bool = False) -> list[Problem]:
    """Judge the tags of YAML in a text of any name: a loader that is not the safe one makes objects by them."""
    where = f"byte {start:,}"
    if b"%TAG" in text:
        return [unknown("yaml-directive", "a directive of YAML gives its tags another meaning", where)]
    for match in _TAG.finditer(text):
        tag = unquote_to_bytes(match[1])
        if (b"python" in tag.lower() and (b"/" in tag or b":" in tag)) or (
            is_yaml and re.match(rb"!!?[a-z]+\.[\w.]+", tag)
        ):
            shown = tag.decode("utf-8", "replace")[:60]
            return [unsafe("yaml-object", f"a tag makes an object of Python: {shown!r}", where)]
        if not _CORE_TAG.fullmatch(tag) and (is_yaml or tag[:2] == b"!<"):
            shown = tag.decode("utf-8", "replace")[:60]
            return [unknown("yaml-tag", f"a tag that its reader decides about: {shown!r}", where)]
    return []


def scan_prose(content: Buffer) -> list[Problem]:
    """Judge a text for people: as a table, and the templates and the tags of YAML in it."""
    problems = scan_csv(content)
    data = memoryview(content)
    if problems or len(data) > MAX_TEXT:
        return problems
    return judge_prose(str(data, "utf-8"), "text")


def scan_csv(content: Buffer) -> list[Problem]:
    """Judge a table in text: no bytes that are not text, no endless line, no formula that starts a program."""
    data, line, rest = memoryview(content), 0, b""
    for start in range(0, len(data), _PIECE):
        piece = bytes(data[start : start + _PIECE])
        if b"\0" in piece:
            return [unknown("text-binary", "it holds NUL bytes", f"byte {start + piece.index(0):,}")]
        found = _FORMULA.search(rest + piece)
        if found:
            shown = found[0].decode("utf-8", "replace").strip()
            return [unsafe("csv-formula", f"a cell that a spreadsheet runs: {shown[:40]!r}", f"byte {start:,}")]
        if problems := _judge_tags(rest + piece, start):
            return problems
        last = piece.rfind(b"\n")
        line = line + len(piece) if last < 0 else len(piece) - last
        if line > MAX_LINE:
            return [unknown("csv-line", f"a line of more than {MAX_LINE:,} bytes", f"byte {start:,}")]
        rest = piece[-_TAG_BYTES:]
    try:
        if len(data) <= MAX_TEXT:
            str(data, "utf-8")
    except UnicodeDecodeError as error:
        return [unknown("text-encoding", "it is not UTF-8", f"byte {error.start:,}")]
    return [] if len(data) <= MAX_TEXT * 64 else [unknown("text-size", "it is too large to be judged")]


def scan_json_text(content: Buffer) -> list[Problem]:
    """Judge a JSON document: its nesting, its numbers, and templates in its texts."""
    data = memoryview(content)
    if len(data) > MAX_TEXT:
        return [unknown("json-size", f"more than {MAX_TEXT >> 20} MB are not judged")]
    text = bytes(data)
    if deepest(text) > 200:
        return [unsafe("json-depth", "it is nested deeper than 200 levels")]
    if _MANY_DIGITS.search(text):
        return [unsafe("json-number", f"a number of more than {MAX_NUMBER:,} digits")]
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return [unknown("json-damaged", f"not JSON: {error}")]
    return _judge_json(text) if any(trigger in text for trigger in _JSON_TRIGGERS) else []


def judge_as_json(content: Buffer) -> list[Problem]:
    """Judge a file of another format that begins like JSON: readers of JSON open it whatever its name."""
    problems = scan_json_text(content)
    if any(problem.code in ("json-damaged", "json-depth") for problem in problems):
        try:
            json.loads(bytes(memoryview(content)))  # it allows NaN, and a mark of the byte order
        except RecursionError:
            return problems
        except ValueError:
            return []
    return problems


_JSON_TRIGGERS = (b"{{", b"{%", b"class_name", b"\\u00", b'"cells"')
"""Bytes without which no JSON document holds a template, a layer of Keras or a notebook."""
_KERAS_CODE = frozenset(("Lambda", "__lambda__", "TFOpLambda", "SlicingOpLambda", "ClassMethod"))


def _judge_json(text: bytes) -> list[Problem]:
    """Judge the values of a JSON document: templates, models of Keras and notebooks."""
    document = msgspec.json.decode(text)
    problems: list[Problem] = []
    if isinstance(document, dict) and isinstance(document.get("cells"), list) and "nbformat" in document:
        problems.append(unknown("code", "a notebook is source code, which is not judged"))
    pending = [("text", document)]
    while pending:
        key, value = pending.pop()
        if isinstance(value, str):
            problems += judge_template(value, key)
        elif isinstance(value, list):
            pending += [(key, inner) for inner in value]
        elif isinstance(value, dict):
            pending += value.items()
            if isinstance(value.get("class_name"), str) and "config" in value:
                problems += _judge_keras(value)
    return first_problems(problems)


def _judge_keras(node: dict[str, Any]) -> list[Problem]:
    """Judge what a node of a Keras model makes: code in it, or an object of any module."""
    name, module = node["class_name"], node.get("module")
    root = module.partition(".")[0] if isinstance(module, str) else "keras"
    if name in _KERAS_CODE or name == "function" or (root != "builtins" and is_dangerous(root, name)):
        shown = f"{module}.{name}" if module else name
        return [unsafe("keras-code", f"a model of Keras that runs Python: {shown[:80]}", "class_name")]
    return [unknown("keras-model", "a model of Keras is not judged", "class_name")]


_SKOPS_CALLS = frozenset(("FunctionNode", "MethodNode", "OperatorFuncNode", "ReduceNode", "PartialNode"))


def scan_skops(content: Buffer) -> list[Problem]:
    """Judge `schema.json` of a skops file: every type and function that it names."""
    data = memoryview(content)
    text = bytes(data)
    if len(data) > MAX_TEXT or deepest(text) > 1000:
        return [unknown("skops-size", "the schema is larger, or nested deeper, than is judged")]
    try:
        schema = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return [unknown("skops-damaged", f"not JSON: {error}")]
    problems: list[Problem] = []
    pending = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            pending += node.values()
            problems += _judge_node(node)
        elif isinstance(node, list):
            pending += node
    return first_problems(problems)


def _judge_node(node: dict[str, Any]) -> list[Problem]:
    problems = []
    loader = node.get("__loader__", "")
    pairs = [(node.get("__module__"), node.get("__class__"))] if "__class__" in node else []
    pairs += [(node["module_path"], node.get("function"))] if "module_path" in node else []
    for module, name in pairs:
        if not isinstance(module, str) or not isinstance(name, str):
            problems.append(unknown("skops-damaged", "a type without a name"))
        elif not (is_listed(module, name) or (module, name) in _SKOPS_OWN):
            make = unsafe if is_dangerous(module, name) or loader in _SKOPS_CALLS else unknown
            problems.append(
                make("skops-type", f"names {module[:80]}.{name[:80]}, which is not on the list", str(loader))
            )
    return problems


_SKOPS_OWN = frozenset(
    (("builtins", "NoneType"), ("builtins", "function"), ("builtins", "method"), ("builtins", "type"))
)


def scan_template_file(content: Buffer) -> list[Problem]:
    """Judge a template or YAML: texts that reach for Python objects, and tags that make them."""
    data = memoryview(content)
    if len(data) > MAX_SETTINGS:
        return [unknown("text-size", f"more than {MAX_SETTINGS >> 20} MB are not judged")]
    if b"\0" in bytes(data):
        return [unknown("text-binary", "it is not text")]
    text = bytes(data).decode("utf-8", "replace")
    return _judge_tags(bytes(data), 0, is_yaml=True) or judge_template(text, "text")


def deepest(text: bytes) -> int:
    """Return how deep the brackets of JSON are nested at most, with those in strings."""
    depth = deepest_level = 0
    for match in re.finditer(rb"[\[{]+|[\]}]+", text):
        run = match[0]
        if run[0] in b"[{":
            depth += len(run)
            deepest_level = max(deepest_level, depth)
        else:
            depth = max(depth - len(run), 0)
        if deepest_level > 100_000:
            break
    return deepest_level


def scan_settings(content: Buffer, name: str) -> list[Problem]:
    """Judge `headway.toml` or `contract.toml`: code that it names, paths outside of its folder, slow patterns."""
    data = memoryview(content)
    if len(data) > MAX_SETTINGS:
        return [unsafe("toml-size", f"{len(data):,} bytes of settings")]
    text = bytes(data)
    if deepest(text) > 100:
        return [unsafe("toml-depth", "it is nested deeper than 100 levels")]
    if text.count(b".") > 100_000 or _MANY_DIGITS.search(text):
        return [unsafe("toml-size", "a key or a number without measure")]
    try:
        settings = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        return [unknown("toml-damaged", f"not TOML: {error}")]
    problems: list[Problem] = []
    for where, value in _settings(settings, ""):
        if name != "contract.toml" and _REFERENCE.fullmatch(value):
            found = f"names code of its project, which headway imports: {value[:80]!r}"
            problems.append(unknown("settings-code", found, where))
        elif "\\" not in value and "/" in value and "://" not in value and leaves_folder(value):
            problems.append(unsafe("settings-path", f"names a path outside of its folder: {value[:80]!r}", where))
        elif value.startswith(("file://", "http://")) or "@" in value.partition("://")[2].partition("/")[0]:
            problems.append(unknown("settings-address", f"names an address: {value.partition('://')[0]}://", where))
        elif name == "contract.toml" and NESTED.search(value):
            problems.append(unsafe("settings-pattern", f"a pattern of nested repetitions: {value[:60]!r}", where))
    return problems[:20]


def _settings(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield every string of settings with the path of its key."""
    pending = [(where, value)]
    while pending:
        path, current = pending.pop()
        if isinstance(current, dict):
            pending += [(f"{path}.{key}".lstrip("."), inner) for key, inner in current.items()]
        elif isinstance(current, list):
            pending += [(path, inner) for inner in current]
        elif isinstance(current, str):
            yield path, current


def scan_parquet(content: Buffer) -> list[Problem]:
    """Judge a parquet file by its footer: sizes, files that it names, and pickled types."""
    data = memoryview(content)
    length = int.from_bytes(data[-8:-4], "little") if len(data) >= 12 else 0
    if bytes(data[-4:]) != b"PAR1" or not 0 < length <= len(data) - 12:
        return [unknown("parquet-footer", "the footer is not complete, or is encrypted")]
    footer = bytes(data[len(data) - 8 - length : len(data) - 8])
    if _PICKLED_TYPE in footer:
        return [unsafe("arrow-pickle", "a column has a type that pyarrow reads from a pickle")]
    try:
        fields = _Thrift(footer).struct(0)
    except (ValueError, IndexError, RecursionError) as error:
        return [unsafe("parquet-footer", f"the footer cannot be read: {error}")]
    return _judge_row_groups(fields, len(data))


def _judge_row_groups(fields: dict[int, Any], size: int) -> list[Problem]:
    groups = fields.get(4) if isinstance(fields.get(4), list) else []
    rows = 0
    for group in groups or ():
        if not isinstance(group, dict):
            return [unsafe("parquet-footer", "a group of rows is damaged")]
        rows += group.get(3, 0) if isinstance(group.get(3), int) else 0
        for chunk in group.get(1) or ():
            column = chunk.get(3, {}) if isinstance(chunk, dict) else {}
            path = chunk.get(1) if isinstance(chunk, dict) else None
            if path:
                shown = path.decode("utf-8", "replace")[:100]
                make = unsafe if leaves_folder(shown) else unknown
                return [make("parquet-path", f"keeps a column in another file: {shown!r}")]
            unpacked, packed, offset = (column.get(key, 0) for key in (6, 7, 9))
            if any(not isinstance(value, int) or value < 0 for value in (unpacked, packed, offset)):
                return [unsafe("parquet-footer", "a size of a column is negative")]
            if offset + packed > size:
                return [unsafe("parquet-footer", "a column ends after the file")]
            if unpacked > 1 << 30 and unpacked > 1000 * max(packed, 1):
                return [unsafe("parquet-bomb", f"a column of {packed:,} bytes unpacks to {unpacked:,}")]
    total = fields.get(3, 0)
    if not isinstance(total, int) or total != rows:
        return [unsafe("parquet-footer", f"it claims {total} rows, and its groups have {rows:,}")]
    return []


class _Thrift:
    """Reader of the compact protocol of Thrift, with every length checked."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position, self.values = data, 0, 0

    def number(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("an integer of more than 10 bytes")

    def signed(self) -> int:
        value = self.number()
        return (value >> 1) ^ -(value & 1)

    def struct(self, depth: int) -> dict[int, Any]:
        """Return the fields of a struct by number."""
        if depth > 32:
            raise ValueError("nested deeper than 32 levels")
        fields: dict[int, Any] = {}
        identity = 0
        while True:
            head = self.data[self.position]
            self.position += 1
            if head == 0:
                return fields
            identity = identity + (head >> 4) if head >> 4 else self.signed()
            fields[identity] = self.value(head & 15, depth, is_field=True)

    def value(self, kind: int, depth: int, *, is_field: bool) -> Any:
        """Return one value; lists hold values, strings are bytes."""
        self.values += 1
        if self.values > 2_000_000:
            raise ValueError("more than 2,000,000 values")
        if kind in (1, 2):
            if not is_field:
                self.position += 1
            return kind == 1
        if kind == 3:
            self.position += 1
            return self.data[self.position - 1]
        if kind in (4, 5, 6):
            return self.signed()
        if kind == 7:
            self.position += 8
            return None
        if kind == 8:
            size = self.number()
            if size > len(self.data) - self.position:
                raise ValueError("a text that leaves the footer")
            self.position += size
            return self.data[self.position - size : self.position]
        if kind in (9, 10):
            return self.list(depth)
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"the type {kind}")

    def list(self, depth: int) -> list[Any]:
        """Return the values of a list."""
        head = self.data[self.position]
        self.position += 1
        count = head >> 4
        if count == 15:
            count = self.number()
        if count > len(self.data) - self.position:
            raise ValueError("a list that leaves the footer")
        if depth > 32:
            raise ValueError("nested deeper than 32 levels")
        return [self.value(head & 15, depth + 1, is_field=False) for _ in range(count)]


def scan_arrow_file(content: Buffer) -> list[Problem]:
    """Judge a file of Arrow by the blocks that its footer lists; a stream by the frames of its messages."""
    data = memoryview(content)
    if bytes(data[:6]) != b"ARROW1":
        return _scan_stream(data)
    length = int.from_bytes(data[-10:-6], "little", signed=True) if len(data) > 22 else -1
    if bytes(data[-6:]) != b"ARROW1" or not 0 < length <= len(data) - 18:
        return [unknown("arrow-footer", "the footer is not complete")]
    footer = bytes(data[len(data) - 10 - length : len(data) - 10])
    if _PICKLED_TYPE in footer or _PICKLED_TYPE in bytes(data[: 1 << 20]):
        return [unsafe("arrow-pickle", "a column has a type that pyarrow reads from a pickle")]
    try:
        table = root_table(footer)
        blocks = [int(value) for number in (2, 3) for value in table.array(number, "i8", 3).tolist()]
    except (ValueError, OverflowError) as error:
        return [unsafe("arrow-footer", f"the footer cannot be read: {error}")]
    for offset, head, body in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
        head &= 0xFFFFFFFF
        if offset < 0 or body < 0 or offset + head + body > len(data) - 10 - length:
            return [unsafe("arrow-footer", "a block of rows leaves the file", f"byte {offset:,}")]
    return []


def _scan_stream(data: memoryview) -> list[Problem]:
    position, size = 0, len(data)
    while position + 8 <= size:
        length = int.from_bytes(data[position + 4 : position + 8], "little", signed=True)
        if bytes(data[position : position + 4]) != b"\xff\xff\xff\xff":
            return [unknown("arrow-frame", "a message does not begin where it should", f"byte {position:,}")]
        if length == 0:
            return []
        if length < 0 or position + 8 + length > size:
            return [unsafe("arrow-frame", f"a message of {length:,} bytes leaves the file", f"byte {position:,}")]
        message = bytes(data[position + 8 : position + 8 + length])
        if _PICKLED_TYPE in message:
            return [
                unsafe("arrow-pickle", "a column has a type that pyarrow reads from a pickle", f"byte {position:,}")
            ]
        try:
            body = root_table(message).integer(3, "<q", 0)
        except ValueError as error:
            return [unsafe("arrow-frame", f"a message cannot be read: {error}", f"byte {position:,}")]
        if not 0 <= body <= size - position - 8 - length:
            return [unsafe("arrow-frame", "the data of a message leave the file", f"byte {position:,}")]
        position += 8 + length + body
    return [] if position == size else [unknown("arrow-frame", "it ends early")]
