"""Open every file of a folder with the loaders of other libraries, and write what they do: `loaders.py FOLDER ANSWER`.

A child process opens the files, with bounded memory and CPU time. An audit hook records each global that a pickle, a
YAML document or a Keras configuration names, and records and denies what runs code, starts a program, writes a file or
connects. Nothing in a file is run: the harmless payloads are denied as well. A child that dies is followed by another.

ANSWER is one JSON object: for each file and each loader that takes it, how it ended (`loaded`, `refused`, `memory`,
`time`, `crash`), the globals, the events, and digests of the members that a reader of archives sees.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import pickle
import resource
import signal
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

CPU_S, WALL_S = 4.0, 120.0
MAX_MEMORY = 1 << 30
"""Bytes of address space that a loader may ask for, beyond what its libraries take."""

MAX_TEXT = 4 << 20
STOPPED = {signal.SIGVTALRM: "time", signal.SIGALRM: "time", signal.SIGXCPU: "time", signal.SIGKILL: "memory"}
PRELOADED = (
    *("numpy", "numpy.ma", "numpy.random", "scipy.special", "scipy.sparse", "joblib", "pandas", "skops.io", "yaml"),
    *(
        "ruamel.yaml",
        "jinja2",
        "safetensors.numpy",
        "gguf",
        "torch",
        "keras",
        "h5py",
        "sklearn.svm",
        "sklearn.ensemble",
    ),
    *("sklearn.pipeline", "sklearn.linear_model", "sklearn.preprocessing", "sklearn.feature_extraction.text"),
    *("lightgbm", "xgboost", "zoneinfo", "decimal", "fractions", "uuid", "lz4.frame"),
)
DANGEROUS = frozenset(
    (
        *("exec", "marshal.loads", "code.__new__", "function.__new__", "builtins.input", "os.system", "os.exec"),
        *("os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.kill", "os.killpg", "os.remove", "os.rename"),
        *("os.mkdir", "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.putenv"),
        *("os.unsetenv", "os.chdir", "os.startfile", "subprocess.Popen", "sys.settrace", "sys.setprofile"),
        *("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"),
        *("webbrowser.open", "ftplib.connect", "smtplib.connect", "ctypes.dlopen", "ctypes.call_function"),
    )
)
RUNNERS = ("jinja2/environment.py", "collections/__init__.py", "dataclasses.py", "keras/src/utils/python_utils.py")
"""Files of libraries that compile and run code of their own: a template, a class of fields."""


class Record:
    """What a loader does with one file."""

    def __init__(self) -> None:
        self.is_active = False
        self.globals: list[str] = []
        self.events: list[str] = []

    def start(self) -> None:
        """Forget the last file, and begin to record."""
        self.globals, self.events, self.is_active = [], [], True

    def name(self, module: object, name: object) -> None:
        """Add a global; a name with a NUL finds nothing."""
        if self.is_active and len(self.globals) < 1000 and "\0" not in f"{module}{name}":
            self.globals.append(f"{module}\n{name}")

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Record an event of the interpreter; deny the dangerous ones."""
        if not self.is_active:
            return
        if event == "pickle.find_class":
            self.name(*arguments[:2])
            return
        if event == "import" and "\0" in str(arguments[0]):  # no module and no file has such a name
            return
        if event == "open":
            mode = arguments[1] if isinstance(arguments[1], str) else ""
            flags = arguments[2] if isinstance(arguments[2], int) else 0
            if not (set("wax+") & set(mode) or (not mode and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))):
                return
            if str(arguments[0]).startswith(("/dev/null", "/dev/shm")):
                return
        elif event == "import":
            root = str(arguments[0]).partition(".")[0]
            if root in _roots or root in sys.stdlib_module_names:
                return
        elif event not in DANGEROUS or self._is_own(event):
            return
        self.is_active = False
        shown = f"{event} {str(arguments[0])[:80] if arguments else ''}".strip()
        self.is_active = True
        if len(self.events) < 100:
            self.events.append(shown)
        raise PermissionError(f"denied: {shown}")

    def _is_own(self, event: str) -> bool:
        """Return whether a library runs its own code: a module that it imports, or a template that it compiled."""
        frame = sys._getframe(2)
        near = 0
        while frame is not None:
            file = frame.f_code.co_filename
            if file.startswith("<frozen importlib"):
                return True
            if near < 3 and event in ("exec", "code.__new__", "function.__new__") and file.endswith(RUNNERS):
                return True
            near += 1
            frame = frame.f_back  # type: ignore[assignment]
        return False


_record = Record()
_roots: set[str] = set()
_modules: dict[str, Any] = {}


def digest(content: bytes) -> str:
    """Return a short digest of bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def _of_pickle(path: Path) -> None:
    with path.open("rb") as file:
        for _ in range(8):  # a file can hold several
            pickle.load(file)  # noqa: S301 - the payloads are ours, and denied


def _of_python_pickle(path: Path) -> None:
    with path.open("rb") as file:
        pickle._Unpickler(file).load()  # type: ignore[attr-defined]


def _of_joblib(path: Path) -> None:
    _modules["joblib"].load(path)


def _of_pandas(path: Path) -> None:
    _modules["pandas"].read_pickle(path)


def _of_torch(path: Path) -> None:
    _modules["torch"].load(path, weights_only=False, map_location="cpu")


def _of_numpy(path: Path) -> None:
    found = _modules["numpy"].load(path, allow_pickle=True)
    if hasattr(found, "files"):
        for name in found.files:
            with contextlib.suppress(ValueError, OSError, EOFError, zipfile.BadZipFile):
                found[name]


def _of_skops(path: Path) -> None:
    io_ = _modules["skops.io"]
    io_.load(path, trusted=io_.get_untrusted_types(file=path))


def _of_yaml(path: Path) -> None:
    yaml = _modules["yaml"]
    for _ in yaml.load_all(_text(path), Loader=yaml.UnsafeLoader):
        pass


def _of_ruamel(path: Path) -> None:
    for _ in _modules["ruamel.yaml"].YAML(typ="unsafe", pure=True).load_all(_text(path)):
        pass


def _text(path: Path) -> bytes:
    content = path.read_bytes()
    if len(content) > MAX_TEXT or (b"\0" in content and content[:2] not in (b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("not a text")
    return content


def _of_keras(path: Path) -> None:
    keras = _modules["keras"]
    if zipfile.is_zipfile(path):
        if path.suffix != ".keras":
            raise ValueError("not a model of Keras")
        keras.saving.load_model(path, safe_mode=False, compile=False)
        return
    text = _text(path).decode("utf-8-sig")
    configuration = json.loads(text)
    if not isinstance(configuration, dict) or "class_name" not in configuration:
        raise ValueError("not a configuration of Keras")
    if hasattr(keras.config, "enable_unsafe_deserialization"):
        keras.config.enable_unsafe_deserialization()
    keras.models.model_from_json(text)


def _of_template(path: Path) -> None:
    """Render the chat templates of a file as early readers of GGUF and tokenizers did, without a sandbox."""
    for text in _templates(path):
        with contextlib.suppress(Exception):
            _modules["jinja2"].Environment().from_string(text).render(messages=[{"role": "user", "content": "x"}])


def _templates(path: Path) -> list[str]:
    head = path.open("rb").read(4)
    if head == b"GGUF":
        fields = _modules["gguf"].GGUFReader(path).fields
        values = [fields[name].contents() for name in fields if "template" in name]
    elif path.suffix == ".safetensors":
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        values = list(header.get("__metadata__", {}).values())
    else:
        text = _text(path).decode("utf-8-sig")
        values, pending = [text], []
        with contextlib.suppress(ValueError):
            pending = [json.loads(text)]
        while pending:
            value = pending.pop()
            pending += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
            values += [value] if isinstance(value, str) else []
    return [value for value in values if isinstance(value, str) and ("{{" in value or "{%" in value)]


def _of_miniz(path: Path) -> dict[str, str]:
    reader = _modules["torch"]._C.PyTorchFileReader(str(path))
    # A folder has the empty name, and miniz returns memory that it has not written for it.
    return {name: digest(bytes(reader.get_record(name))) for name in reader.get_all_records() if name}


def _of_members(path: Path) -> None:
    """Unpickle each member of an archive, as a program that unpacks it would."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            contents = [archive.read(info) for info in archive.infolist() if not info.is_dir()]
    else:
        with tarfile.open(path) as packed:
            files = [packed.extractfile(member) for member in packed if member.isreg()]
            contents = [file.read() for file in files if file is not None]
    for content in contents:
        for load in (pickle.load, _modules["joblib"].load):  # noqa: S301 - as above
            with contextlib.suppress(Exception):
                load(io.BytesIO(content))


def _of_safetensors(path: Path) -> dict[str, str]:
    """Return the tensors, and raise `Different` if a plain reading of the header gives others."""
    found = _modules["safetensors.numpy"].load_file(path)
    tensors = {name: f"{list(array.shape)} {digest(array.tobytes())}" for name, array in found.items()}
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    body = content[8 + length :]
    plain = {name: f"{entry['shape']} {digest(body[slice(*entry['data_offsets'])])}" for name, entry in header.items()}
    if tensors != plain:
        _record.events.append(f"reads other tensors: {sorted(tensors)[:4]} and {sorted(plain)[:4]}")
    return tensors


LOADERS: dict[str, tuple[tuple[str, ...], Callable[[Path], dict[str, str] | None]]] = {
    "pickle": ((), _of_pickle),
    "pickle in Python": ((), _of_python_pickle),
    "joblib": (("joblib",), _of_joblib),
    "pandas": (("pandas",), _of_pandas),
    "torch": (("torch",), _of_torch),
    "numpy": (("numpy",), _of_numpy),
    "skops": (("skops.io",), _of_skops),
    "yaml": (("yaml",), _of_yaml),
    "ruamel": (("ruamel.yaml",), _of_ruamel),
    "keras": (("keras",), _of_keras),
    "template": (("jinja2", "gguf"), _of_template),
    "miniz": (("torch",), _of_miniz),
    "members": (("joblib",), _of_members),
    "safetensors": (("safetensors.numpy",), _of_safetensors),
}


def available() -> list[str]:
    """Import the libraries, and return the loaders that they give."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            _modules[name] = importlib.import_module(name)
    _roots.update(name.partition(".")[0] for name in sys.modules)
    if "yaml" in _modules:
        _watch(_modules["yaml"].constructor.FullConstructor)
    if "ruamel.yaml" in _modules:
        _watch(_modules["ruamel.yaml"].constructor.Constructor)
    if "keras" in _modules:
        library = importlib.import_module("keras.src.saving.serialization_lib")
        retrieve = library._retrieve_class_or_fn

        def retrieved(name: str, registered_name: str, module: str, *rest: Any, **more: Any) -> Any:
            _record.name(module, name)
            return retrieve(name, registered_name, module, *rest, **more)

        library._retrieve_class_or_fn = retrieved
    return [name for name, (needed, _) in LOADERS.items() if all(part in _modules for part in needed)]


def _watch(constructor: Any) -> None:
    """Record the globals that a constructor of YAML looks up."""
    for method in ("find_python_name", "find_python_module"):
        original = getattr(constructor, method)

        def looked_up(self: Any, name: str, *rest: Any, _original: Any = original, **more: Any) -> Any:
            module, _, last = str(name).rpartition(".")
            _record.name(module or "builtins", last)
            return _original(self, name, *rest, **more)

        setattr(constructor, method, looked_up)


def try_load(path: Path, loader: str) -> dict[str, Any]:
    """Open a file with a loader, and return what it did."""
    members, end = None, "loaded"
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S)
    signal.setitimer(signal.ITIMER_REAL, WALL_S)
    _record.start()
    try:
        members = LOADERS[loader][1](path)
    except MemoryError:
        end = "memory"
    except BaseException as error:  # noqa: BLE001 - whatever a loader raises is its answer
        _record.is_active = False
        end = "memory" if "allocate memory" in str(error) else "refused"
    _record.is_active = False
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    seen = {"end": end, "globals": sorted(set(_record.globals)), "events": _record.events[:10]}
    return seen | ({} if members is None else {"members": members})


def _open_all(jobs: list[tuple[Path, str]], first: int, pipe: int) -> None:
    """Open files one after another, and write a line before and after each."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MAX_MEMORY, size + MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for number in range(first, len(jobs)):
        os.write(pipe, f"{number}\n".encode())
        path, loader = jobs[number]
        line = json.dumps(try_load(path, loader)).encode() + b"\n"
        while line:
            line = line[os.write(pipe, line) :]


def run(jobs: list[tuple[Path, str]]) -> list[dict[str, Any]]:
    """Return what each job did; a file that ends the child process is a job that ended by a crash."""
    answers: list[dict[str, Any]] = []
    while len(answers) < len(jobs):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _serve(jobs, len(answers), writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as lines:
            answers += [json.loads(line) for line in lines if line[:1] == b"{"]
        _, status = os.waitpid(child, 0)
        if len(answers) < len(jobs):
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            answers.append({"end": STOPPED.get(number, "crash"), "globals": [], "events": [], "signal": int(number)})
    return answers


def _serve(jobs: list[tuple[Path, str]], first: int, pipe: int) -> NoReturn:
    """Open files in this child process, and end it."""
    try:
        _open_all(jobs, first, pipe)
    finally:
        os._exit(0)


def main(folder: str, answer: str) -> None:
    """Open all files, and write the answers."""
    warnings.simplefilter("ignore")
    loaders = available()
    jobs = [(path, loader) for path in sorted(Path(folder).iterdir()) for loader in loaders]
    sys.addaudithook(_record.audit)
    found: dict[str, dict[str, Any]] = {}
    for (path, loader), seen in zip(jobs, run(jobs), strict=True):
        found.setdefault(path.name, {})[loader] = seen
    Path(answer).write_text(json.dumps({"loaders": loaders, "files": found}), encoding="utf-8")


main(sys.argv[1], sys.argv[2])
