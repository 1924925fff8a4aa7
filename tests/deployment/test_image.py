"""A release as an image: the same bytes each time, an ordinary user, no secret, and a bill of materials."""

from __future__ import annotations

import json
import marshal
import platform
import re
import shutil
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from msgspec.structs import replace
from tests.deployment import layouts
from tests.serving.running import project, release

from headway.core import config
from headway.core.errors import ConfigError, Refused
from headway.core.record import digest_of
from headway.data.settings.data import DataSection
from headway.deployment import image, oci
from headway.registry.bundle import open_bundle
from headway.registry.model_registry import ModelRegistry
from headway.registry.sign import load_trusted
from headway.serving.settings.serve import ServeSection
from headway.serving.settings.slo import SloSection

pytestmark = pytest.mark.slow


def write(folder: Path, base: str, to: Path) -> image.WrittenImage:
    """Write the image of the live release of a project."""
    settings = config.load(folder, environment={})
    registry = ModelRegistry.from_config(settings)
    bundle = registry.resolve("flights@live")
    registry.state.close()
    trusted = load_trusted(registry.trusted_keys)
    return image.write_image(
        bundle, settings, trusted, registry.operators(), base=base, layout=to, packages=layouts.small_packages()
    )


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """An image in `image`, of a project with settings that only this machine understands; and their folder."""
    folder = tmp_path_factory.mktemp("written")
    home = folder / "project"
    home.mkdir()
    project(home, release(name="flights"))
    with (home / "headway.toml").open("a") as file:
        file.write('tls_certificate = "server.pem"\nlog_mode = "sample"\ntrusted_origins = ["https://ml.example"]\n')
        file.write("[slo]\np99_ms = 20.0\n[data]\nsource = 'postgresql://ann:secret@db/flights'\n")
    return write(home, layouts.base_layout(folder / "base"), folder / "image"), folder


@pytest.fixture
def written(once, tmp_path):
    """The image that was written once, with copies of its project, base and layout in the folder of the test."""
    found, folder = once
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return found


def test_the_same_input_gives_the_same_digest(tmp_path, written):
    again = write(tmp_path / "project", f"{tmp_path / 'base'}@{written_base(tmp_path)}", tmp_path / "again")
    assert again == written
    names = {file.name for file in (tmp_path / "image/blobs/sha256").iterdir()}
    assert names == {file.name for file in (tmp_path / "again/blobs/sha256").iterdir()}
    assert (tmp_path / "image/index.json").read_bytes() == (tmp_path / "again/index.json").read_bytes()


def written_base(folder: Path) -> str:
    return json.loads((folder / "base/index.json").read_bytes())["manifests"][0]["digest"]


def test_the_layout_has_one_image_whose_tag_is_the_name_of_the_release(tmp_path, written):
    (entry,) = json.loads((tmp_path / "image/index.json").read_bytes())["manifests"]
    assert entry["digest"] == written.digest
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "flights"


def test_every_blob_has_the_digest_and_the_size_that_name_it(tmp_path, written):
    layout = tmp_path / "image"
    manifest = layouts.manifest_of(layout)
    for entry in (*manifest["layers"], manifest["config"]):
        content = layouts.blob(layout, entry["digest"])
        assert digest_of(content) == entry["digest"] and len(content) == entry["size"]
    assert len(layouts.config_of(layout)["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 3
    assert written.size_bytes == sum(file.stat().st_size for file in (layout / "blobs/sha256").iterdir())
    assert (layout / "oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'


def test_the_release_in_the_image_verifies_with_the_keys_in_the_image(tmp_path, written):
    root = layouts.extracted(tmp_path / "image", tmp_path / "root", layer=2)
    bundle = open_bundle(root / "models", load_trusted(root / "opt/headway/project/trusted_keys.txt"))
    assert (bundle.digest, bundle.model) == (written.release, b"echo")


def test_the_server_is_an_ordinary_user_who_writes_in_one_folder(tmp_path, written):
    run = layouts.config_of(tmp_path / "image")["config"]
    assert run["User"] == "65532:65532" and run["Volumes"] == {"/var/lib/headway": {}}
    assert run["Entrypoint"] == [layouts.PYTHON, "-m", "headway.cli"]
    assert run["Cmd"] == ["serve", "/models", "--project", "/opt/headway/project"]
    owned = {
        name
        for layer in (1, 2)
        for name, member in layouts.members(tmp_path / "image", layer=layer).items()
        if member.uid
    }
    assert owned == {"var/lib/headway"}
    assert not any(member.mode & 0o022 for member in layouts.members(tmp_path / "image", layer=2).values())


def test_the_image_holds_no_private_key_and_no_password(tmp_path, written):
    for layer in (1, 2):
        root = layouts.extracted(tmp_path / "image", tmp_path / f"root{layer}", layer=layer)
        for file in root.rglob("*"):
            if file.is_file():
                assert b"PRIVATE KEY" not in file.read_bytes() and b"secret@" not in file.read_bytes(), file


def test_settings_of_the_server_are_those_of_the_project_without_its_machine(tmp_path, written):
    root = layouts.extracted(tmp_path / "image", tmp_path / "root", layer=2)
    settings = config.load(root / "opt/headway/project", environment={})
    assert (settings[ServeSection].host, settings[ServeSection].port, settings[ServeSection].tls_certificate) == (
        "0.0.0.0",
        8080,
        "",
    )
    assert (settings[ServeSection].log_mode, settings[ServeSection].trusted_origins) == (
        "sample",
        ("https://ml.example",),
    )
    assert settings[ServeSection].keys == "/etc/headway/keys.toml" and str(settings.state) == "/var/lib/headway"
    assert settings[SloSection].p99_ms == 20.0 and settings[DataSection].source == ""


def test_the_standard_library_of_the_base_is_compiled_because_a_server_could_not_write_its_own(tmp_path):
    project(tmp_path)
    library = Path(layouts.PYTHON).parent.parent / "lib" / Path(layouts.PYTHON).name
    modules = {str(library / name): b"SIX = 6" for name in ("six.py", "inner/six.py", "test/six.py")}
    others = {f"/usr/local{library.relative_to('/usr')}/six.py": b"SIX = 7", str(library / "six.txt"): b""}
    runs = {layouts.PYTHON: b"", layouts.RUNTIME: b""}
    write(tmp_path, layouts.base_layout(tmp_path / "base", files={**runs, **modules, **others}), tmp_path / "image")
    root = layouts.extracted(tmp_path / "image", tmp_path / "root", layer=1)
    found = sorted(file for file in root.rglob("*.pyc") if "/opt/" not in str(file))
    inner = root / str(library)[1:]
    assert found == [inner / path / f"__pycache__/six.{sys.implementation.cache_tag}.pyc" for path in ("", "inner")]
    content = found[0].read_bytes()
    assert content[4] == 1 and marshal.loads(content[16:]).co_filename == str(library / "six.py")


def test_labels_name_the_release_the_evidence_and_the_base(tmp_path, written):
    named = layouts.config_of(tmp_path / "image")["config"]["Labels"]
    assert named == layouts.manifest_of(tmp_path / "image")["annotations"]
    assert named["headway.release"] == written.release and named["headway.evidence"] == ""
    assert named["org.opencontainers.image.base.digest"] == written_base(tmp_path)


def test_the_bill_of_materials_lists_the_release_and_all_packages(tmp_path, written):
    root = layouts.extracted(tmp_path / "image", tmp_path / "root", layer=2)
    text = (root / "opt/headway/sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    sbom = json.loads(text)
    model = sbom["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "flights", written.release)
    versions = {package.name: package.version for package in layouts.small_packages()}
    assert {entry["purl"] for entry in sbom["components"]} == {
        f"pkg:pypi/mdurl@{versions['mdurl']}",
        f"pkg:pypi/packaging@{versions['packaging']}",
        "pkg:deb/debian/libc6@2.41-12",
    }


@pytest.mark.parametrize(
    ("made_at", "created"),
    [
        ("", "1970-01-01T00:00:00+00:00"),
        ("in May", "1970-01-01T00:00:00+00:00"),
        ("2026-11-28", "2026-11-28T00:00:00+00:00"),
        ("2026-11-28T01:02:03+01:00", "2026-11-28T01:02:03+01:00"),
    ],
)
def test_the_time_of_an_image_is_one_that_registries_read(tmp_path, made_at, created):
    project(tmp_path, replace(release(), made_at=made_at))
    write(tmp_path, layouts.base_layout(tmp_path / "base"), tmp_path / "image")
    assert layouts.config_of(tmp_path / "image")["created"] == created


def test_settings_of_the_base_that_the_image_does_not_replace_stay(tmp_path):
    project(tmp_path)
    base = layouts.base_layout(tmp_path / "base", run={"User": "root", "Shell": ["/bin/sh"]})
    write(tmp_path, base, tmp_path / "image")
    run = layouts.config_of(tmp_path / "image")["config"]
    assert run["Shell"] == ["/bin/sh"] and run["User"] == "65532:65532"


def test_an_existing_folder_is_not_replaced(tmp_path):
    project(tmp_path)
    (tmp_path / "image").mkdir()
    with pytest.raises(ConfigError, match="the folder of the image exists") as error:
        write(tmp_path, layouts.base_layout(tmp_path / "base"), tmp_path / "image")
    assert error.value.hint == "name a new folder"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"/usr/bin/python3.9": b"", layouts.RUNTIME: b""}, "the base image has python3.9, and the packages"),
        ({layouts.RUNTIME: b""}, "the base image has no Python, and the packages"),
        ({layouts.PYTHON: b""}, "the base image has no libstdc++.so.6"),
    ],
)
def test_a_base_without_the_interpreter_or_its_libraries_is_an_error(tmp_path, files, message):
    project(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        write(tmp_path, layouts.base_layout(tmp_path / "base", files=files), tmp_path / "image")
    assert "take a base image with" in error.value.hint and not (tmp_path / "image").exists()


def change_blob(layout: Path) -> tuple[type[Exception], str]:
    (layout / "blobs/sha256" / layouts.manifest_of(layout)["layers"][0]["digest"].removeprefix("sha256:")).write_bytes(
        b"x"
    )
    return Refused, "was changed"


def no_index(layout: Path) -> tuple[type[Exception], str]:
    (layout / "index.json").unlink()
    return ConfigError, "index.json cannot be read: No such file or directory"


def broken_index(layout: Path) -> tuple[type[Exception], str]:
    (layout / "index.json").write_text("[")
    return ConfigError, "the layout holds a file that is not a JSON object"


def empty_index(layout: Path) -> tuple[type[Exception], str]:
    (layout / "index.json").write_text("{}")
    return ConfigError, "the image has no list 'manifests'"


def another_image(layout: Path) -> tuple[type[Exception], str]:
    (layout / "index.json").write_text('{"manifests": []}')
    return ConfigError, "the layout has no image sha256:"


@pytest.mark.parametrize("harm", [change_blob, no_index, broken_index, empty_index, another_image])
def test_a_damaged_base_is_an_error_that_says_how_to_copy_one(tmp_path, harm):
    project(tmp_path)
    base = layouts.base_layout(tmp_path / "base")
    kind, message = harm(tmp_path / "base")
    with pytest.raises(kind, match=re.escape(message)) as error:
        write(tmp_path, base, tmp_path / "image")
    assert "skopeo copy docker://IMAGE oci:FOLDER" in error.value.hint


def manifest_reference(layout: Path, **changes: object) -> str:
    """Replace the manifest of a base by one with other fields; return its reference."""
    content = json.dumps({**layouts.manifest_of(layout), **changes}).encode()
    return in_index(layout, content)


def in_index(layout: Path, content: bytes) -> str:
    """Make a blob the only image of a layout; return its reference."""
    digest = digest_of(content)
    (layout / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(content)
    (layout / "index.json").write_text(json.dumps({"manifests": [{"digest": digest}]}))
    return f"{layout}@{digest}"


def test_an_image_in_the_form_of_docker_is_an_error(tmp_path):
    layouts.base_layout(tmp_path / "base")
    layers = layouts.manifest_of(tmp_path / "base")["layers"]
    docker = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    reference = manifest_reference(tmp_path / "base", layers=[{**layers[0], "mediaType": docker}])
    with pytest.raises(ConfigError, match=f"has the type '{docker}'"):
        oci.open_base(reference)


@pytest.mark.parametrize("changes", [{"config": {}}, {"config": None}, {"layers": None}])
def test_a_manifest_without_its_parts_is_an_error(tmp_path, changes):
    layouts.base_layout(tmp_path / "base")
    with pytest.raises(ConfigError, match="the image has no "):
        oci.open_base(manifest_reference(tmp_path / "base", **changes))


def test_a_digest_that_leaves_the_layout_is_refused(tmp_path):
    layouts.base_layout(tmp_path / "base")
    reference = manifest_reference(tmp_path / "base", config={"digest": "../../index.json"})
    with pytest.raises(Refused, match="is not a digest of an image"):
        oci.open_base(reference)


def test_an_image_for_another_processor_is_an_error(tmp_path):
    layouts.base_layout(tmp_path / "base")
    content = json.dumps({**layouts.config_of(tmp_path / "base"), "architecture": "s390x"}).encode()
    in_index(tmp_path / "base", content)
    reference = manifest_reference_of(tmp_path / "base", content)
    with pytest.raises(ConfigError, match="the base image is for linux/s390x, this machine linux/"):
        oci.open_base(reference)


def manifest_reference_of(layout: Path, configuration: bytes) -> str:
    return in_index(layout, json.dumps({"layers": [], "config": {"digest": digest_of(configuration)}}).encode())


def test_of_an_index_of_platforms_that_of_this_machine_is_taken(tmp_path):
    digest = layouts.base_layout(tmp_path / "base").rpartition("@")[2]
    here = {"os": "linux", "architecture": oci.architecture()}
    entries = [
        {"digest": "sha256:0", "platform": {"os": "linux", "architecture": "s390x"}},
        {"digest": digest, "platform": here},
    ]
    assert oci.open_base(in_index(tmp_path / "base", json.dumps({"manifests": entries}).encode())).digest == digest
    with pytest.raises(ConfigError, match=f"the base image has no form for linux/{oci.architecture()}"):
        oci.open_base(in_index(tmp_path / "base", json.dumps({"manifests": entries[:1]}).encode()))


@pytest.mark.parametrize("reference", ["", "base", "base@latest", "@sha256:12", "base@sha256:12"])
def test_a_base_is_named_by_its_digest(reference):
    with pytest.raises(ConfigError, match="names no base image by its digest"):
        oci.open_base(reference)


def test_an_architecture_has_its_name_in_images():
    assert oci.architecture() == {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
