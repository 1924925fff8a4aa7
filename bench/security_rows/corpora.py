"""Files by other authors, unpacked to a folder for the run; nothing of theirs is in this repository.

modelaudit's tests are in its source distribution. Those of picklescan, fickling and modelscan are in their repositories
only: `--data DIR` names a folder with a checkout of each (`DIR/picklescan`, `DIR/fickling`, `DIR/modelscan`). Without
it, and for what modelscan's tests build as they run, files of the same kinds stand in (`stand_ins`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from cache import HERE, Absent, folder, home, made
from security_rows import stand_ins
from tiny import is_tiny

MODELAUDIT = "modelaudit==0.2.54"
_HOSTILE = re.compile(
    # picklescan: the names that its own tests expect to be dangerous
    r"picklescan/tests/data2?/(malicious|GHSA-|pytorch_magic|sys_module|broken_model|cloudpickle_code|dns_exfil|io_FileIO|keyerror"
    r"|logging_File|type-confusion|types_CodeType|urllib_request)[\w.-]*"
    # modelaudit: the folders and names of attacks
    r"|modelaudit[\w.-]*/tests/assets/(exploits/[\w.-]+|pickles/\w+_attack\.pkl|samples/pickles/(malicious_\w+|nested_pickle_\w+"
    r"|decode_exec_chain|dill_func)\.pkl|samples/jinja2/(malicious|obfuscated)/[\w.-]+|samples/jinja2/(standalone|yaml)/malicious_[\w.-]+"
    r"|samples/archives/path_traversal\.zip|samples/keras/(malicious|custom|loss|metric)_[\w.-]+|samples/pytorch/malicious_[\w.-]+"
    r"|samples/safetensors/malicious_[\w.-]+|samples/tensorflow/malicious_pyfunc/[\w.-]+|scenarios/security_scenarios/\w+/model\.pkl)"
    r"|modelscan/tests/data/unsafe_[\w.-]+"
)
_BENIGN = re.compile(
    r"picklescan/tests/data2?/(benign0_v\d\.pkl|int_array|object_array|new_pytorch_model|pytorch_model\.bin)[\w.-]*"
    r"|modelaudit[\w.-]*/tests/assets/samples/(pickles/safe_[\w.-]+|keras/safe_[\w.-]+|pytorch/safe_[\w.-]+)"
)
OTHERS = ("picklescan", "modelscan", "fickling")
_data: list[Path] = []


def read(directory: Path) -> None:
    """Read checkouts of scanners from a folder from now on."""
    _data[:] = [directory]


def write(hostile: Path, benign: Path) -> list[str]:
    """Copy the files of others to two folders, by the name of their corpus; return sentences about what is absent."""
    short: list[str] = []
    read_corpora: set[str] = set()
    for source in _sources(short):
        corpus = source.name.partition("-")[0]
        read_corpora.add(corpus)
        for number, path in enumerate(sorted(source.rglob("*"))):
            shown = path.relative_to(source.parent).as_posix()
            if not path.is_file() or path.suffix in (".py", ".md"):
                continue
            target = hostile if _HOSTILE.fullmatch(shown) else benign if _BENIGN.fullmatch(shown) else None
            if target:
                shutil.copyfile(path, target / f"{corpus}-{number:03d}-{path.name}")
    if _data and (_data[0] / "fickling/test").is_dir():
        try:
            script = HERE / "peers/fickling_pickles.py"
            command = [str(home("fickling")), str(script), str(_data[0] / "fickling/test"), str(hostile)]
            subprocess.run(command, check=True, capture_output=True)
            read_corpora.add("fickling")
        except (Absent, subprocess.CalledProcessError) as error:
            short.append(f"the pickles of fickling's tests: {error}")
    for corpus in OTHERS:
        # modelscan's repository holds one file; its tests build the others with TensorFlow as they run.
        if corpus in read_corpora and corpus != "modelscan":
            continue
        for target, contents in ((hostile, stand_ins.hostile_files(corpus)), (benign, stand_ins.benign_files(corpus))):
            for name, content in contents.items():
                (target / f"{corpus}.kinds-{name}").write_bytes(content)
    return short


def _sources(short: list[str]) -> Iterator[Path]:
    try:
        directory = made(folder("modelaudit-sdist", of=[MODELAUDIT]), _download)
        yield next(path for path in directory.glob("modelaudit-*") if path.is_dir())
    except (Absent, StopIteration, subprocess.CalledProcessError) as error:
        short.append(f"the files of modelaudit's source distribution: {error}")
    if _data:
        yield from (path for name in ("picklescan", "modelscan") if (path := _data[0] / name).is_dir())
    else:
        short.append(
            "files of the kinds of picklescan, fickling and modelscan stand in for theirs; pass --data with checkouts"
        )


def _download(directory: Path) -> None:
    if is_tiny():
        raise Absent("source distributions are not downloaded in tiny mode")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*pip, "--dest", str(directory), MODELAUDIT], check=True, capture_output=True)
    with tarfile.open(next(directory.glob("*.tar.gz"))) as archive:
        archive.extractall(directory, filter="data")
