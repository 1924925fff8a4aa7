"""The doctor diagnoses real processes, files and keys; a test breaks them in its own folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from packaging.requirements import Requirement
from tests.serving.running import project as released
from tests.serving.running import release

from headway.cli import doctor, loading
from headway.cli import main as cli
from headway.cli.loading import Diagnosis, load_plugins
from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.registry.sign import create_publisher
from headway.storage.addresses import open_online

CPUINFO = "model name\t: Test CPU\nflags\t\t: fpu sse2 avx2 fma amx_int8\n"
MEMINFO = "MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\n"
# Libraries that are absent, or built for another processor.
LIBRARIES = {
    "polars": "raise ModuleNotFoundError(\"No module named 'polars'\", name='polars')",
    "onnxruntime": "import os, signal\nos.kill(os.getpid(), signal.SIGILL)",
}


def system(folder: Path, **files: str) -> Path:
    """Write a root folder with system files; in a name, `__` is a slash and `_dot_` a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def lightgbm(folder: Path, library: str, requires: str = "") -> Path:
    """Write a distribution of LightGBM whose shared library has this content."""
    (folder / "lightgbm/lib").mkdir(parents=True)
    (folder / "lightgbm/__init__.py").write_text("")
    (folder / "lightgbm/lib/lib_lightgbm.so").write_text(library)
    (folder / "lightgbm-9.0.dist-info").mkdir()
    required = f"Requires-Dist: {requires}\n" if requires else ""
    (folder / "lightgbm-9.0.dist-info/METADATA").write_text(f"Name: lightgbm\nVersion: 9.0\n{required}")
    (folder / "lightgbm-9.0.dist-info/RECORD").write_text("lightgbm/__init__.py,,\nlightgbm/lib/lib_lightgbm.so,,\n")
    return folder


def by_part(found: list[Diagnosis]) -> dict[str, Diagnosis]:
    return {diagnosis.what: diagnosis for diagnosis in found}


def project(folder: Path, toml: str = "") -> Path:
    (folder / "headway.toml").write_text(f'[trust]\npublisher_key = "publisher.pem"\n{toml}')
    return folder


@pytest.mark.parametrize(
    ("required", "health"), [(">=3.11", "well"), (">=3.9,<3.11", "broken"), (">=99.1", "broken"), ("", "well")]
)
def test_a_python_that_headway_does_not_support_is_broken(tmp_path, monkeypatch, required, health):
    monkeypatch.setattr(doctor.importlib.metadata, "metadata", lambda name: {"Requires-Python": required})
    diagnosis = by_part(doctor.diagnose_machine(tmp_path))["python"]
    assert diagnosis.health == health
    assert diagnosis.message.endswith(f"which needs Python {required}") == (health == "broken")


def test_the_processor_features_that_engines_use_are_listed(tmp_path):
    diagnosis = by_part(doctor.diagnose_machine(system(tmp_path, proc__cpuinfo=CPUINFO)))["processor"]
    assert (diagnosis.health, diagnosis.message) == ("well", "Test CPU: avx2, fma, amx_int8")


def test_a_processor_without_avx2_is_noted_with_a_hint(tmp_path):
    diagnosis = by_part(doctor.diagnose_machine(system(tmp_path, proc__cpuinfo="flags : fpu sse2\n")))["processor"]
    assert (diagnosis.health, "lacks avx2" in diagnosis.message, "rtcompat" in diagnosis.hint) == ("note", True, True)


def test_the_memory_and_the_limit_of_the_container_are_shown(tmp_path):
    folder = system(tmp_path, proc__meminfo=MEMINFO)
    assert by_part(doctor.diagnose_machine(folder))["memory"].message == "16.0 GiB, 8.0 GiB free"
    limited = system(tmp_path, sys__fs__cgroup__memory_dot_max=f"{4 * 2**30}\n")
    assert by_part(doctor.diagnose_machine(limited))["memory"].message.endswith("the container may use 4.0 GiB")


def test_the_cpu_quota_of_the_container_is_shown(tmp_path):
    found = by_part(doctor.diagnose_machine(system(tmp_path, sys__fs__cgroup__cpu_dot_max="100000 100000")))["cores"]
    assert found.message.startswith(f"1 of {os.cpu_count()}") or os.cpu_count() == 1


def test_a_system_without_proc_files_is_not_an_error(tmp_path):
    found = by_part(doctor.diagnose_machine(tmp_path))
    assert found["memory"].message == "not known on this system"
    assert "features not known" in found["processor"].message


def test_a_clock_that_is_years_behind_is_broken_and_a_slow_one_is_noted(tmp_path):
    slow = system(tmp_path, sys__devices__system__clocksource__clocksource0__current_clocksource="hpet\n")
    assert doctor.diagnose_clock(tmp_path, datetime(1970, 1, 2, tzinfo=UTC)).health == "broken"
    assert doctor.diagnose_clock(slow, datetime.now(UTC)).health == "note"


@pytest.mark.slow
def test_plugins_that_lack_a_library_fail_to_load_or_crash_are_distinguished(tmp_path, monkeypatch):
    system(lightgbm(tmp_path, "not a library"), **{f"{name}_dot_py": text for name, text in LIBRARIES.items()})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = by_part(
        load_plugins(["check:late_labels", "source:sqlite", "engine:onnxruntime", "engine:lightgbm", "state:sqlite"])
    )

    assert found["source:sqlite"].message == "needs 'polars'"
    assert (found["source:sqlite"].health, found["source:sqlite"].hint) == ("absent", "pip install 'headway[lab]'")
    assert found["engine:onnxruntime"].message == "cannot be loaded: it ended the process (-4)"
    assert found["engine:lightgbm"].health == "broken"
    assert found["engine:lightgbm"].message.startswith(f"cannot be loaded: {tmp_path}/lightgbm/lib/lib_lightgbm.so: ")
    assert [found[what].health for what in ("check:late_labels", "state:sqlite")] == ["well", "well"]


@pytest.mark.parametrize(("openmp", "hint"), [("libgomp-absent.so", "apt-get install libgomp1"), ("libc.so.6", "")])
def test_a_library_that_does_not_load_without_openmp_has_a_hint_only_where_openmp_is_absent(
    tmp_path, monkeypatch, openmp, hint
):
    monkeypatch.syspath_prepend(str(lightgbm(tmp_path, f"linked with {openmp}")))
    monkeypatch.setattr(loading, "OPENMP", openmp)
    found = loading.diagnose_library("library:lightgbm")
    assert (found.health, found.hint) == ("broken", hint)


def test_a_library_whose_requirement_is_absent_names_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(lightgbm(tmp_path, "", requires="no-such-package>=1")))
    (tmp_path / "lightgbm/lib/lib_lightgbm.so").unlink()
    (tmp_path / "lightgbm-9.0.dist-info/RECORD").write_text("")
    found = loading.diagnose_library("library:lightgbm")
    assert (found.health, found.message, found.hint) == (
        "absent",
        "needs 'no-such-package'",
        "pip install no-such-package",
    )


def test_a_library_that_is_not_installed_is_absent_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    found = loading.diagnose_library("library:lightgbm")
    assert (found.health, found.message, found.hint) == ("absent", "needs 'lightgbm'", "pip install 'headway[lab]'")


def test_the_libraries_of_a_plugin_are_those_that_its_modules_import():
    needed = {name: loading.find_libraries(name) - loading.BASE for name in ("engine:lightgbm", "source:postgresql")}
    assert needed == {"engine:lightgbm": {"lightgbm"}, "source:postgresql": {"polars", "psycopg"}}
    assert loading.find_libraries("engine:trees") == {"msgspec", "numpy"}


def test_a_new_project_has_no_keys_and_a_writable_state(tmp_path):
    found = by_part(doctor.diagnose_project(project(tmp_path)))
    assert {what: diagnosis.health for what, diagnosis in found.items()} == {
        "project": "well",
        "trusted keys": "note",
        "publisher key": "note",
        "operator keys": "note",
        "state": "well",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["headway.toml"]


def test_a_key_that_others_can_read_is_broken_and_an_untrusted_key_is_noted(tmp_path):
    key = create_publisher(project(tmp_path) / "publisher.pem").key
    assert by_part(doctor.diagnose_project(tmp_path))["publisher key"].message.startswith(key)

    (tmp_path / "trusted_keys.txt").write_text(f"{key} ada\n")
    assert by_part(doctor.diagnose_project(tmp_path))["trusted keys"].health == "well"
    (tmp_path / "trusted_keys.txt").write_text("ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= eve\n")
    assert by_part(doctor.diagnose_project(tmp_path))["publisher key"].message == f"{key} is not trusted here"
    (tmp_path / "publisher.pem").chmod(0o644)
    assert by_part(doctor.diagnose_project(tmp_path))["publisher key"].hint.startswith("chmod 600")
    (tmp_path / "trusted_keys.txt").write_text("no key\n")
    assert by_part(doctor.diagnose_project(tmp_path))["trusted keys"].health == "broken"


@pytest.mark.parametrize(("listed", "health"), [("no key\n", "broken"), (f"ed25519:{'A' * 43}= ada\n", "well")])
def test_the_list_of_operators_is_read(tmp_path, listed, health):
    (project(tmp_path) / "operator_keys.txt").write_text(listed)
    assert by_part(doctor.diagnose_project(tmp_path))["operator keys"].health == health


def test_a_state_that_cannot_be_written_or_read_is_broken(tmp_path):
    found = by_part(doctor.diagnose_project(project(tmp_path, '[project]\nstate = "headway.toml/state"')))["state"]
    assert (found.health, "Not a directory" in found.message) == ("broken", True)

    (project(tmp_path) / ".headway").mkdir()
    (tmp_path / ".headway/state.sqlite").write_text("no database" * 100)
    assert "file is not a database" in by_part(doctor.diagnose_project(tmp_path))["state"].message


def test_settings_that_are_wrong_are_broken(tmp_path):
    [found] = doctor.diagnose_project(project(tmp_path, "[serve]\nprot = 1"))
    assert (found.health, found.message.startswith("unknown setting 'serve.prot'")) == ("broken", True)


def test_an_extra_that_is_made_of_extras_needs_their_packages():
    of = {"huggingface": "tokenizers", "sklearn": "skops", "both": "headway[huggingface,sklearn]"}
    required = [Requirement(f'{package}; extra == "{extra}"') for extra, package in of.items()]
    assert doctor._packages_of("both", required) == ["tokenizers", "skops"]


@pytest.mark.slow
def test_the_doctor_lists_all_diagnoses_and_exits_1_if_a_needed_part_is_broken(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", "--project", str(project(tmp_path, "[serve]\nprot = 1")), "--json"])
    health_of = {diagnosis["what"]: diagnosis["health"] for diagnosis in json.loads(capsys.readouterr().out)}
    assert ended.value.code == cli.FAIL
    assert {what for what, health in health_of.items() if health == "broken"} == {"project"}
    assert {"python", "processor", "plug-ins engine", "extra lab"} <= set(health_of)


@pytest.mark.slow
def test_the_doctor_imports_no_numerical_library():
    run = [sys.executable, "-X", "importtime", "-c", "from headway.cli.commands import doctor"]
    text = subprocess.run(run, check=True, capture_output=True, text=True).stderr
    assert "headway.cli.doctor" in text
    assert [name for name in ("numpy", "polars", "onnxruntime", "lightgbm") if f" {name}\n" in text] == []


def test_a_view_of_the_live_release_without_a_table_is_broken_with_the_command_that_makes_it(tmp_path):
    features = (Feature(name="c"),)
    view = FeatureView(
        name="weather", version=2, entities=("origin",), source=FeatureSource(location="w"), features=features
    )
    config = released(tmp_path, replace(release(name="model"), views=(view,)))
    found = by_part(doctor.diagnose_project(tmp_path))["feature views"]
    assert (found.health, found.hint) == ("broken", "headway features materialize weather")
    assert "view 'weather@v2' has no table in the online store: 'weather.v2' is missing" in found.message
    store = open_online(config)
    store.write("weather.v2", ["JFK"], np.ones((1, 1)), np.ones(1, dtype=np.int64))
    store.close()
    found = by_part(doctor.diagnose_project(tmp_path))["feature views"]
    assert (found.health, found.message) == ("well", "weather@v2 in the online store")


def test_energy_counters_are_listed_or_why_there_is_none(tmp_path):
    absent = by_part(doctor.diagnose_machine(system(tmp_path, proc__stat="cpu  1 0 0 9 0 0 0 0 0 0\n")))["energy"]
    assert absent.health == "note" and "most virtual machines" in absent.message and absent.hint
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in {"name": "package-0", "energy_uj": "12", "max_energy_range_uj": "262143328850"}.items():
        (zone / name).write_text(f"{text}\n")
    found = by_part(doctor.diagnose_machine(tmp_path))["energy"]
    assert (found.health, found.message) == ("well", "RAPL counters of 1 package can be read")
