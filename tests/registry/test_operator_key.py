"""An operator's key moves a pointer back to what it had, and ends a canary; a stolen one can do nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace as changed
from releases import FILES, forget, passed, publishers_only, register, release, with_operator

from headway.core.config import Config, load
from headway.core.contracts import Signed
from headway.core.errors import ConfigError, HeadwayError, Refused, StoreError
from headway.core.record import digest_of, write
from headway.core.release import PointerUpdate, TrafficAssignment
from headway.registry import chain
from headway.registry.bundle import open_bundle, save_bundle, sign_release
from headway.registry.chain import UpdateKeys
from headway.registry.model_registry import ModelRegistry, UpdateReason
from headway.registry.sign import (
    Operator,
    create_operator,
    create_publisher,
    init_operator_keys,
    load_operator,
    load_publisher,
    load_trusted,
    signer_of,
)
from headway.registry.stores import migrate_store
from headway.storage.state.sqlite import Sqlite

LIVE, CANARY = "flights@live", "flights@canary"
ONLY_BACK = "may only point back at a release"
ASSIGNED = TrafficAssignment(share=0.5, salt="s", stage=0, terms="")


@pytest.fixture
def ours(tmp_path: Path) -> ModelRegistry:
    return with_operator(register(tmp_path), tmp_path)


@pytest.fixture
def operator(ours: ModelRegistry) -> Operator:
    return load_operator(ours.operator_key)


def forge(ours: ModelRegistry, operator: Operator, **fields: object) -> PointerUpdate:
    """Append an update as a thief of the operator's key does who can write to the store."""
    end = ours.state.last()
    update = PointerUpdate(
        name="flights", pointer="live", number=1, release="", previous=digest_of(end.content), at="", who="", why=""
    )
    update = changed(update, **fields)
    last = ours.state.last(update.name, update.pointer)
    number = msgspec.json.decode(last.content)["record"]["number"] + 1 if last else 1
    update = changed(update, number=number)
    assert ours.state.append(operator.sign(write(update)))
    return update


def test_an_operator_rolls_back_and_every_loader_follows(ours, two, tmp_path):
    update = ours.roll_back(LIVE, who="bob", why="callers complain", key="operator")
    assert (update.release, update.verdict, update.number) == (two[0], "", 3)
    fresh = with_operator(register(tmp_path), tmp_path)
    assert fresh.resolve(LIVE).digest == two[0] and fresh.head(LIVE) == update
    assert [move.release for move in fresh.history("flights", "live")] == [*two, two[0]]
    assert [entry.move.number for entry in fresh.recent("flights", "live")] == [3, 2, 1]
    assert ours.roll_forward(LIVE, who="bob", why="it was not the model", key="operator").release == two[1]
    assert ours.head(LIVE).release == two[1]


def test_an_operator_goes_back_further_to_a_release_that_is_named(ours, two):
    third = ours.publish(release(made_at="July"), FILES)
    ours.point(LIVE, third, passed())
    assert [update.release for update in ours.returns(LIVE)[0]] == [two[1], two[0]]
    assert ours.roll_back(LIVE, who="bob", why="both are bad", to=two[0], key="operator").release == two[0]
    assert ours.resolve(LIVE).digest == two[0]
    with pytest.raises(Refused, match="the pointer never had release"):
        ours.roll_back(LIVE, who="bob", why="no", to=ours.publish(release(made_at="May 2"), FILES), key="operator")
    with pytest.raises(StoreError, match="had no other release"):
        ours.point(CANARY, two[0], passed())
        ours.roll_back(CANARY, who="bob", why="no")


def test_an_operator_ends_a_canary_and_a_publisher_begins_the_next(ours, two):
    ours.point(CANARY, two[0], passed(), assignment=ASSIGNED)
    assert ours.withdraw(CANARY, who="bob", why="harm", key="operator").release == ""
    assert ours.head(CANARY).release == "" and len(ours.history()) == 4
    ours.point(CANARY, two[0], passed(), assignment=ASSIGNED)
    assert ours.resolve(CANARY).digest == two[0]


STEPS = {
    "a release that live never had": {"release": "other"},
    "a release that only another pointer had": {"release": "staged"},
    "no release": {"release": ""},
    "a verdict": {"release": "first", "verdict": "sha256:1"},
    "an answer": {"release": "first", "answer": "pass"},
    "an assignment": {"release": "first", "assignment": ASSIGNED},
    "a canary": {"pointer": "canary", "release": "first", "assignment": ASSIGNED},
    "a canary back": {"pointer": "canary", "release": "first"},
    "a canary that ends and assigns": {"pointer": "canary", "assignment": ASSIGNED},
    "a new pointer": {"pointer": "staging2", "release": "first"},
    "another model": {"name": "hotels", "release": "first"},
}


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_stolen_operator_key_can_do_nothing_else(ours, two, operator, tmp_path, step):
    ours.point(CANARY, two[0], passed(), assignment=ASSIGNED)
    staged, other = (ours.publish(release(made_at=when), FILES) for when in ("staged", "other"))
    ours.point("flights@staging", staged, passed())
    ours.history()
    digests = {"first": two[0], "staged": staged, "other": other, "": ""}
    fields = STEPS[step]
    forged = forge(ours, operator, **{**fields, "release": digests[fields.get("release", "")]})
    address = f"{forged.name}@{forged.pointer}"
    served = dataclasses.replace(ours, served=tmp_path / "served")
    new_machine = with_operator(register(tmp_path), tmp_path)
    forget(tmp_path)
    for load_it in (
        lambda: served.head(address),
        lambda: served.resolve(address),
        ours.history,
        ours.recent,
        lambda: new_machine.resolve(address),
        new_machine.history,
    ):
        with pytest.raises(Refused, match=ONLY_BACK):
            load_it()
    assert not list((tmp_path / "served").glob("*"))
    if address != LIVE:
        assert served.resolve(LIVE).digest == two[1]
    with pytest.raises(Refused, match=ONLY_BACK):
        migrate_store(project(tmp_path), str(tmp_path / "store"), str(tmp_path / "copy"))


def project(folder: Path) -> Config:
    keys = '[trust]\npublisher_key = "keys/publisher.pem"\ntrusted_keys = "trust/trusted_keys.txt"\n'
    more = 'operator_key = "keys/operator.pem"\noperator_keys = "trust/operator_keys.txt"\n'
    (folder / "headway.toml").write_text(f'[project]\nname = "flights"\nstate = "store"\n{keys}{more}')
    return load(folder)


def test_a_store_with_an_operator_s_updates_is_copied(ours, two, tmp_path):
    ours.roll_back(LIVE, who="bob", why="back", key="operator")
    assert migrate_store(project(tmp_path), str(tmp_path / "store"), str(tmp_path / "copy")).updates == 3
    copied = dataclasses.replace(ours, state=Sqlite(tmp_path / "copy"))
    assert copied.head(LIVE).release == two[0]


def test_the_operator_is_refused_before_anything_is_written(ours, two):
    with pytest.raises(Refused, match=ONLY_BACK):
        ours.withdraw(LIVE, who="bob", why="no", key="operator")
    ours.point(CANARY, two[0], passed())
    ours.point(CANARY, two[1], passed())
    with pytest.raises(Refused, match=ONLY_BACK):
        ours.roll_back(CANARY, who="bob", why="no", key="operator")
    assert len(ours.state.updates()) == 4


def test_a_release_counts_only_if_a_trusted_publisher_put_it_live(ours, two, operator, tmp_path):
    """Eve puts a release live with a key of her own, and goes back to it with the operator's."""
    eve, other = create_publisher(tmp_path / "eve.pem"), ours.publish(release(made_at="other"), FILES)
    forge(ours, Operator(eve.private), release=other)
    forge(ours, operator, release=two[0])
    assert ours.head(LIVE).release == two[0]
    forge(ours, operator, release=other)
    with pytest.raises(Refused, match=ONLY_BACK):
        ours.head(LIVE)


def test_after_a_publisher_s_key_is_removed_its_releases_are_no_way_back(ours, two, tmp_path):
    ours.roll_back(LIVE, who="bob", why="back", key="operator")
    assert ours.head(LIVE).release == two[0]
    ours.trusted_keys.write_text(f"{create_publisher(tmp_path / 'new.pem').key} new\n")
    with pytest.raises(Refused, match=ONLY_BACK):
        ours.head(LIVE)


def test_a_machine_that_knows_no_operator_stays_at_the_last_update_of_a_publisher(ours, two, tmp_path):
    """As does every earlier version of headway, which has no list of operators."""
    ours.roll_back(LIVE, who="bob", why="back", key="operator")
    former = register(tmp_path)
    with pytest.raises(Refused, match="which is not trusted"):
        former.resolve(LIVE)
    with pytest.raises(Refused, match="which is not trusted"):
        former.history()
    former.point(LIVE, two[1], passed())
    assert former.resolve(LIVE).digest == two[1]


def test_an_operator_signs_no_release_and_no_checkpoint(ours, two, operator, tmp_path, monkeypatch):
    sealed = sign_release(release(made_at="evil"), FILES, operator)
    folder = ours.folder / "flights" / sealed.digest.removeprefix("sha256:")
    save_bundle(folder, sealed)
    with pytest.raises(Refused, match="which is not trusted"):
        open_bundle(folder, load_trusted(ours.trusted_keys))
    with pytest.raises(Refused, match="which is not trusted"):
        ours.resolve(f"flights@{sealed.digest.removeprefix('sha256:')}")
    monkeypatch.setattr(chain, "CHECKPOINT_EVERY", 1)
    ours.history()
    keys = UpdateKeys(load_trusted(ours.trusted_keys), ours.operators())
    ours.roll_back(LIVE, who="bob", why="back", key="operator")
    before = ours.state.records("checkpoint")
    own = chain.own_checkpoint(chain.checkpoint_file(ours.trusted_keys), keys)
    ours.state.save("checkpoint", msgspec.json.encode(operator.sign(write(own))), name="")
    assert (
        chain.signed_checkpoint(ours.state, keys) == chain.START
        and len(ours.state.records("checkpoint")) == len(before) + 1
    )


@pytest.mark.slow
def test_a_checkpoint_covers_an_operator_s_updates_and_is_not_used_where_that_key_is_unknown(
    ours, two, tmp_path, monkeypatch
):
    monkeypatch.setattr(chain, "CHECKPOINT_EVERY", 4)
    for number in range(3):
        ours.roll_back(LIVE, who="bob", why=f"back {number}", key="operator")
        ours.roll_forward(LIVE, who="bob", why=f"forward {number}", key="operator")
    ours.head(LIVE)
    file = chain.checkpoint_file(ours.trusted_keys)
    keys = UpdateKeys(load_trusted(ours.trusted_keys), ours.operators())
    assert chain.own_checkpoint(file, keys).count >= 4
    assert chain.own_checkpoint(file, publishers_only(ours.trusted_keys)) == chain.START
    assert len(ours.history()) == 8 and chain.own_checkpoint(file, keys).count == 8
    ours.roll_back(LIVE, who="bob", why="again", key="operator")
    assert with_operator(register(tmp_path), tmp_path).resolve(LIVE).digest == two[0]
    assert len(ours.history()) == 9


@pytest.mark.slow
def test_a_checkpoint_stops_before_an_operator_s_forged_update(ours, two, operator, monkeypatch):
    monkeypatch.setattr(chain, "CHECKPOINT_EVERY", 2)
    forge(ours, operator, release=ours.publish(release(made_at="other"), FILES))
    ours.point(LIVE, two[1], passed())
    ours.head(LIVE)
    keys = UpdateKeys(load_trusted(ours.trusted_keys), ours.operators())
    assert chain.own_checkpoint(chain.checkpoint_file(ours.trusted_keys), keys).count == 2


class TestServed:
    """The update that a server saves for a start while the state is away."""

    @pytest.fixture
    def server(self, ours, two, tmp_path):
        ours.roll_back(LIVE, who="bob", why="back", key="operator")
        server = dataclasses.replace(ours, served=tmp_path / "served")
        server.head(LIVE)
        return server

    def test_a_server_starts_at_the_release_that_an_operator_went_back_to(self, server, two):
        assert server.resolve_served(LIVE).digest == two[0]

    @pytest.mark.parametrize("forged", ["alone", "another release", "a later one"])
    def test_it_is_refused_without_the_publisher_s_update_that_allows_it(self, server, two, forged):
        file = server.served / f"{LIVE}.json"
        last, first = msgspec.json.decode(file.read_bytes(), type=tuple[Signed, Signed])
        if forged == "alone":
            content = msgspec.json.encode(last)
        elif forged == "another release":
            content = msgspec.json.encode((last, server.state.updates()[1]))
        else:
            later = server.point(LIVE, two[0], UpdateReason(who="ann", why="again"))
            content = msgspec.json.encode((last, server.state.last()))
            assert later.number == 4 and first != server.state.last()
        file.write_bytes(content)
        with pytest.raises(Refused, match=ONLY_BACK):
            server.resolve_served(LIVE)


def test_the_key_of_a_dashboard_must_be_in_the_list_and_the_error_gives_the_line(ours, two, tmp_path):
    stranger = dataclasses.replace(ours, operator_key=tmp_path / "other.pem")
    with pytest.raises(ConfigError, match="no operator key"):
        stranger.load_operator()
    key = create_operator(tmp_path / "other.pem").key
    with pytest.raises(ConfigError, match="is not trusted here") as caught:
        stranger.roll_back(LIVE, who="bob", why="back", key="operator")
    assert key in caught.value.hint
    with pytest.raises(ConfigError, match="no operator key"):
        register(tmp_path).load_operator()


def test_a_fresh_dashboard_gets_an_operator_s_key_that_is_not_the_publisher_s(tmp_path):
    private, listed, trusted = tmp_path / "operator.pem", tmp_path / "operators.txt", tmp_path / "trusted.txt"
    done = init_operator_keys(private, listed, trusted_keys=trusted, comment="bob")
    assert done.created and done.pinned and load_trusted(listed).keys == {done.key: "bob"}
    assert not init_operator_keys(private, listed, trusted_keys=trusted, comment="bob").pinned
    trusted.write_text(f"{done.key} bob\n")
    with pytest.raises(ConfigError, match="is trusted to publish"):
        init_operator_keys(private, listed, trusted_keys=trusted, comment="bob")
    with pytest.raises(ConfigError, match="cannot make the operator key"):
        create_operator(private)


def test_a_key_in_both_lists_is_a_publisher_s(ours, two, tmp_path):
    ours.operator_keys.write_text(f"{load_publisher(ours.publisher_key).key} ann\n")
    assert not UpdateKeys(load_trusted(ours.trusted_keys), ours.operators()).is_operator(
        load_publisher(ours.publisher_key).key
    )
    assert ours.head(LIVE).release == two[1]


def test_keys_of_operators_lie_outside_the_store(tmp_path):
    for setting in ("operator_key", "operator_keys"):
        (tmp_path / "headway.toml").write_text(
            f'[project]\nname = "flights"\n[trust]\npublisher_key = "p.pem"\n{setting} = ".headway/k"\n'
        )
        with pytest.raises(ConfigError, match=f"{setting} lies in the store"):
            ModelRegistry.from_config(load(tmp_path))


def test_a_signature_that_cannot_be_read_names_no_key():
    assert signer_of(b"{") == ""


def test_an_operator_s_error_is_headway_s_own(ours, two, operator):
    forge(ours, operator, release="sha256:" + "0" * 64)
    with pytest.raises(HeadwayError):
        ours.resolve(LIVE)
