"""Reports and logs of devices over HTTP: stored once, under the key of the device, for releases staged to it."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import nanoarrow
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings, strategies
from msgspec.structs import replace
from nanoarrow.ipc import StreamWriter
from tests.serving.running import Answer, Running, ask, devices_of, loaded, open_authenticator, serving

from headway.core.config import Config
from headway.core.fleet import DeviceReport, FleetPointer, FleetRelease
from headway.core.record import canonical, digest_of, write
from headway.core.settings.project import ProjectSection
from headway.registry import device_logs
from headway.registry.device_logs import load_status, load_statuses, segments_of
from headway.serving.auth.keys import create_key
from headway.storage import segments, traffic
from headway.storage.addresses import LateState

RELEASE, OTHER = (digest_of(name) for name in (b"one", b"two"))
DIGITS = RELEASE.removeprefix("sha256:")[:12]
OCTETS = "Content-Type: application/octet-stream"


def columns(n: int = 3, **changes: object) -> dict[str, segments.Column]:
    """Return the columns of a log of so many rows."""
    whole = {name: np.arange(n) for name in ("at_us", "request", "latency_us")}
    small = {name: np.zeros(n, np.int8) for name in ("role", "answered", "status", "stage", "paired")}
    keys = {"key": ["a", *[None] * (n - 1)]}
    found = {**keys, **whole, **small, "rate": np.ones(n), "in.x": np.ones(n), "out.0": np.ones(n), **changes}
    return {name: values for name, values in found.items() if values is not None}


def content(folder: Path, **changes: object) -> bytes:
    return segments.save(folder / "of device", columns(**changes), name="one.arrow").read_bytes()


def segment(number: int = 0) -> str:
    return f"{time.time_ns():020}-1-{number}{segments.SUFFIX}"


def publish(state: LateState) -> None:
    """Save the pointer of a fleet of one release."""
    release = FleetRelease(digest=RELEASE, sizes={}, evidence="", policy="")
    unsigned = {"at": "", "who": "", "why": "", "timestamp_key": "", "key_expires": ""}
    pointer = FleetPointer(name="flights", pointer="live", number=1, release=release, **unsigned)
    state.save("fleet_pointer", write(pointer), name="flights")


@contextmanager
def running(folder: Path, *, day_bytes: int = 1 << 20) -> Iterator[Running]:
    """Start a server with the key of a device, of a person, and a fleet that was published."""
    config = Config(ProjectSection(state=str(folder / "state")))
    for name, scope in (("pump-1", "device"), ("ann", "predict")):
        (folder / name).write_text(create_key(folder / "keys.toml", name, [scope]))
    with closing(LateState(config)) as state:
        publish(state)
        with serving(loaded(), authenticator=open_authenticator(folder / "keys.toml")) as server:
            soon = server.loop.call_soon_threadsafe
            with closing(devices_of(folder / "state", state, soon, day_bytes=day_bytes)) as devices:
                server.listener._state.application._devices = devices
                yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as found:
        yield found


def send(server: Running, folder: Path, path: str, body: bytes, *, key: str = "pump-1") -> Answer:
    headers = [f"Authorization: Bearer {(folder / key).read_text()}", OCTETS] if key else [OCTETS]
    return ask(server, f"/v2/devices/{path}", body, method="POST", headers=headers)


def ship(server: Running, folder: Path, body: bytes, name: str = "", **options: str) -> Answer:
    return send(server, folder, f"flights/log/{DIGITS}/{name or segment()}", body, **options)


def report(**changes: object) -> bytes:
    fields = {"device": "pump-1", "name": "flights", "pointer": "live", "release": RELEASE, "number": 1, "timestamp": 2}
    return json.dumps({**fields, "reason": "", "message": "", "at": "now", **changes}).encode()


def rows_of(folder: Path) -> list[dict[str, segments.Column]]:
    return [segments.load(path) for path in segments.segments(traffic.devices_folder(folder / "state", "flights"))]


def status(folder: Path) -> device_logs.DeviceStatus:
    return load_status(folder / "state", "flights", "pump-1")


def test_a_report_is_on_disk_once_it_is_acknowledged(server: Running, tmp_path: Path) -> None:
    assert send(server, tmp_path, "flights/report", report(waiting=3, of_later_version=1)).status == 200
    assert send(server, tmp_path, "flights/report", report(reason="expired")).status == 200
    (found,) = load_statuses(tmp_path / "state", "flights")
    assert (found.device, found.report.reason, found.report.release) == ("pump-1", "expired", RELEASE)
    assert found.reported_at


def test_a_segment_is_stored_once_and_marked_with_its_device(server: Running, tmp_path: Path) -> None:
    name, body = segment(), content(tmp_path, status=np.array([0, 1, 0], np.int8), more=np.zeros(3))
    assert [ship(server, tmp_path, body, name).json for _ in range(2)] == [{"stored": 3}, {"stored": 0}]
    (table,) = rows_of(tmp_path)
    assert (table["device"], table["release"]) == (["pump-1"] * 3, [RELEASE] * 3)
    assert "more" not in table
    assert (status(tmp_path).rows, status(tmp_path).errors) == (3, 1)
    assert traffic.log_folders(tmp_path / "state", "flights") == []


def test_an_empty_segment_is_stored_as_one(server: Running, tmp_path: Path) -> None:
    assert ship(server, tmp_path, content(tmp_path, n=0, key=[])).json == {"stored": 0}


def test_segments_of_one_time_are_stored_each(server: Running, tmp_path: Path) -> None:
    names = [f"{time.time_ns():020}-1-{number}" for number in range(3)]
    for name in (*names, f"{names[-1]}m"):
        body = content(tmp_path, **{traffic.MERGED: np.full(3, int(name[:20]))} if name.endswith("m") else {})
        assert ship(server, tmp_path, body, f"{name}{segments.SUFFIX}").json == {"stored": 3}
    assert (status(tmp_path).rows, {traffic.MERGED in table for table in rows_of(tmp_path)}) == (12, {False})
    folder = traffic.devices_folder(tmp_path / "state", "flights")
    assert [len(segments_of(folder, device)) for device in ("pump-1", "pump-2")] == [4, 0]


@pytest.mark.parametrize("key", ["", "ann", "unknown"])
def test_only_the_key_of_a_device_ships(server: Running, tmp_path: Path, key: str) -> None:
    (tmp_path / "unknown").write_text("hw_unknown")
    answer = ship(server, tmp_path, content(tmp_path), key=key)
    assert answer.status == (403 if key == "ann" else 401)
    assert rows_of(tmp_path) == []


def test_a_report_is_of_the_device_of_the_key(server: Running, tmp_path: Path) -> None:
    answer = send(server, tmp_path, "flights/report", report(device="pump-2"))
    assert (answer.status, "the report is of pump-2" in answer.json["error"]) == (403, True)
    assert load_statuses(tmp_path / "state", "flights") == []


def test_a_log_of_a_release_that_was_not_staged_is_refused_and_counted(server: Running, tmp_path: Path) -> None:
    digits = OTHER.removeprefix("sha256:")[:12]
    for _ in range(2):
        answer = send(server, tmp_path, f"flights/log/{digits}/{segment()}", content(tmp_path))
        assert (answer.status, "never staged to the device pump-1" in answer.json["error"]) == (403, True)
    assert (rows_of(tmp_path), status(tmp_path).refused) == ([], 2)
    assert "never staged" in status(tmp_path).refusal


@pytest.mark.parametrize("name", ["hotels", "..%2F..", "flights%2Fx"])
def test_a_model_without_a_fleet_has_no_devices(server: Running, tmp_path: Path, name: str) -> None:
    answer = send(server, tmp_path, f"{name}/report", report())
    assert (answer.status, "headway fleet publish" in answer.json["error"]) == (403, True)
    assert sorted(path.name for path in (tmp_path / "state").glob("devices/*")) == []


@pytest.mark.parametrize(
    "name", ["x", f"{10**19:020}-1-0.arrow", "..%2F00000000000000000001-1-0.arrow", f"{1:020}-{'a' * 70}.arrow"]
)
def test_a_segment_has_the_name_of_one(server: Running, tmp_path: Path, name: str) -> None:
    assert ship(server, tmp_path, content(tmp_path), name).status == 400
    assert rows_of(tmp_path) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"status": None},
        {"at_us": np.zeros(3)},
        {"in.x": ["a", "b", "c"]},
        {"key": [None, "a", "b"]},
        {"text.t": np.zeros(3)},
    ],
)
def test_a_segment_has_the_columns_of_a_log(server: Running, tmp_path: Path, changes: dict[str, object]) -> None:
    answer = ship(server, tmp_path, content(tmp_path, **changes))
    assert answer.status == 400, answer.json
    assert (rows_of(tmp_path), status(tmp_path).refused) == ([], 1)


def stream(array: object, times: int = 1) -> bytes:
    file = io.BytesIO()
    with StreamWriter.from_writable(file) as writer:
        for _ in range(times):
            writer.write_array(array)
    return file.getvalue()


def test_a_type_that_claims_rows_without_bytes_is_not_decoded(server: Running, tmp_path: Path) -> None:
    nulls = nanoarrow.c_array_from_buffers(nanoarrow.null(), 1 << 40, [], null_count=1 << 40)
    table = nanoarrow.c_array_from_buffers(
        nanoarrow.struct({"key": nanoarrow.null()}), 1 << 40, [None], children=[nulls]
    )
    assert "a batch of 1,099,511,627,776 rows is too large" in ship(server, tmp_path, stream(table)).json["error"]
    few = nanoarrow.c_array_from_buffers(nanoarrow.null(), 2, [], null_count=2)
    table = nanoarrow.c_array_from_buffers(nanoarrow.struct({"key": nanoarrow.null()}), 2, [None], children=[few])
    assert "columns are not those of a segment" in ship(server, tmp_path, stream(table)).json["error"]


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compressed_segment_is_refused_before_it_is_decoded(
    server: Running, tmp_path: Path, compression: str
) -> None:
    rows = pl.concat([pl.read_ipc_stream(content(tmp_path))] * 60_000, rechunk=True)
    packed = io.BytesIO()
    rows.write_ipc_stream(packed, compression=compression, compat_level=pl.CompatLevel.oldest())
    assert len(packed.getvalue()) < 1 << 20
    assert "a batch is compressed" in ship(server, tmp_path, packed.getvalue()).json["error"]
    assert (rows_of(tmp_path), status(tmp_path).refused) == ([], 1)


def test_a_segment_has_one_batch_and_bounds(server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = nanoarrow.c_array([1, 2], nanoarrow.int64())
    table = nanoarrow.c_array_from_buffers(
        nanoarrow.struct({"at_us": nanoarrow.int64()}), 2, [None], children=[numbers]
    )
    assert "one batch" in ship(server, tmp_path, stream(table, 3)).json["error"]
    monkeypatch.setattr(device_logs, "MAX_ROWS", 2)
    assert "a batch of 3 rows is too large: 2" in ship(server, tmp_path, content(tmp_path)).json["error"]
    monkeypatch.setattr(device_logs, "MAX_SEGMENT_BYTES", 100)
    assert "is too large: 100" in ship(server, tmp_path, content(tmp_path)).json["error"]


def test_a_report_has_bounds(server: Running, tmp_path: Path) -> None:
    for body in (b"", b"{}", b"[" * 5_000, b"\xff", report(message="m" * 2_000)):
        assert send(server, tmp_path, "flights/report", body).status == 400
    assert send(server, tmp_path, "flights/report", report(message="m" * 20_000)).status == 413
    assert load_statuses(tmp_path / "state", "flights") == []


@pytest.mark.parametrize("field", ["release", "reason", "headway"])
@pytest.mark.parametrize("text", ["\x1b[2J", "9\n", "\x9b2J", "\x7f"])
def test_a_report_has_no_control_characters_that_a_terminal_follows(
    server: Running, tmp_path: Path, field: str, text: str
) -> None:
    answer = send(server, tmp_path, "flights/report", report(**{field: text}))
    assert (answer.status, load_statuses(tmp_path / "state", "flights")) == (400, [])
    assert send(server, tmp_path, "flights/report", report(**{field: "clé 9.1"})).status == 200


def test_a_device_has_a_quota_for_a_day(tmp_path: Path) -> None:
    body = content(tmp_path)
    with running(tmp_path, day_bytes=2 * len(body)) as server:
        answers = [ship(server, tmp_path, body, segment(number)) for number in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "3600"
    assert len(rows_of(tmp_path)) == 2


def test_what_cannot_be_stored_is_sent_again_later(
    server: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body, name = content(tmp_path), segment()
    (tmp_path / "state/devices/flights").mkdir(parents=True)
    file = tmp_path / "state/devices/flights/pump-1.json"
    file.write_text("{")
    assert [ship(server, tmp_path, body, name).status for _ in range(2)] == [503, 503]
    assert "was not stored" in caplog.text
    file.unlink()
    assert ship(server, tmp_path, body, name).json == {"stored": 3}


def test_a_token_names_no_device(server: Running, tmp_path: Path) -> None:
    application = server.listener._state.application
    authorize = application._authenticator.authorize
    application._authenticator.authorize = lambda *arguments: replace(authorize(*arguments), kind="token of")
    answer = ship(server, tmp_path, content(tmp_path))
    assert (answer.status, "API key of its name" in answer.json["error"]) == (403, True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=strategies.lists(strategies.tuples(strategies.integers(0, 3_000), strategies.integers(0, 255)), max_size=4)
)
def test_damaged_segments_are_refused_or_stored_as_a_log(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    body = bytearray(content(tmp_path))
    for position, value in changes:
        body[position % len(body)] = value
    try:
        found = device_logs._checked(bytes(body))
    except device_logs.DataError:
        return
    assert len({len(values) for values in found.values()}) == 1


def test_a_report_says_what_a_device_serves() -> None:
    assert json.loads(canonical(DeviceReport(**json.loads(report()))))["release"] == RELEASE
