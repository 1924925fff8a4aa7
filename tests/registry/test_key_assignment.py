"""Keys to sides: stable, uniform, independent of another salt, and a growing share keeps its keys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.registry.key_assignment import assign_hashes, assign_key, key_hash, key_hashes

SHARES = st.floats(0, 1)
NAMES = {
    "numbers": [str(number) for number in range(20_000)],
    "customers": [f"customer-{number:06}" for number in range(20_000)],
    "hours": [
        f"2013-{month:02}-{day:02}T{hour:02}" for month in range(1, 13) for day in range(1, 29) for hour in range(24)
    ],
}


def test_a_key_gets_the_same_assignment_on_every_machine_and_day():
    assert key_hash("anna", "first") == 0xB3FF28C8348DA3A5
    assert [assign_key("anna", "first", share) for share in (0.70, 0.71)] == [False, True]


@given(st.text(), st.text(), SHARES, SHARES)
def test_a_key_in_a_share_stays_in_a_larger_share(key, salt, one, other):
    low, high = sorted((one, other))
    assert assign_key(key, salt, high) or not assign_key(key, salt, low)


@given(st.lists(st.text(), max_size=20), st.text(), SHARES)
def test_keys_are_assigned_in_bulk_as_one_by_one(keys, salt, share):
    hashes = key_hashes(keys, salt)
    assert hashes.tolist() == [key_hash(key, salt) for key in keys]
    assert assign_hashes(hashes, share).tolist() == [assign_key(key, salt, share) for key in keys]


@pytest.mark.parametrize("share", [1e-300, 2**-64, 0.05, 1 - 2**-53, 1.0])
def test_the_boundary_of_a_share_is_the_same_for_one_key_and_for_many(share):
    edge = int(share * 2**64)
    near = [hash for hash in (0, edge - 1, edge, edge + 1, 2**64 - 1) if 0 <= hash < 2**64]
    assert assign_hashes(np.array(near, dtype=np.uint64), share).tolist() == [hash < share * 2**64 for hash in near]


def test_shares_of_0_and_1_are_exact():
    hashes = np.array([0, 2**63, 2**64 - 1], dtype=np.uint64)
    assert not assign_hashes(hashes, 0.0).any() and assign_hashes(hashes, 1.0).all()


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("names", NAMES)
def test_the_share_of_keys_is_assigned_and_adjacent_keys_are_independent(names, share):
    keys, off, together = NAMES[names], [], []
    for salt in range(40):
        ours = assign_hashes(key_hashes(keys, str(salt)), share)
        off.append((ours.mean() - share) / np.sqrt(share * (1 - share) / len(keys)))
        together.append(np.corrcoef(ours[1:], ours[:-1])[0, 1])
    assert np.sqrt(np.mean(np.square(off))) < 1.5
    assert abs(np.mean(together)) < 0.01


def test_two_salts_assign_keys_independently():
    first, second = (assign_hashes(key_hashes(NAMES["customers"], salt), 0.25) for salt in ("one", "two"))
    assert (first & second).mean() == pytest.approx(0.0625, abs=0.006)
