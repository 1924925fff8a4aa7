"""The bytes of an encoder: what is not one, and tokenizers whose patterns may not end, are refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import EngineError
from headway.engines.formats import encoder
from headway.engines.formats.encoder import EncoderHeader, check_tokenizer, pack_encoder, split_encoder

TOKENIZER = json.dumps({"model": {"vocab": {"a": 0, "Regex": 1}}, "pre_tokenizer": {"type": "Whitespace"}}).encode()


def header(size: int = len(TOKENIZER), **other: int) -> EncoderHeader:
    return EncoderHeader(tokenizer_bytes=size, **{"width": 3, "max_tokens": 8, **other})


def test_the_parts_come_back():
    assert split_encoder(pack_encoder(header(), TOKENIZER, b"graph")) == (header(), TOKENIZER, b"graph")


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_with_a_hint(content):
    for damaged in (
        content,
        encoder.ENCODER_MAGIC + content,
        pack_encoder(header(), TOKENIZER, b"g")[:-2] + content[:1],
    ):
        with pytest.raises(EngineError) as refusal:
            split_encoder(damaged)
        assert refusal.value.hint


@pytest.mark.parametrize("wrong", [header(0), header(-1), header(10**6), header(width=0), header(max_tokens=0)])
def test_a_header_that_does_not_fit_is_refused(wrong):
    with pytest.raises(EngineError, match="not a complete encoder"):
        split_encoder(pack_encoder(wrong, TOKENIZER, b"graph"))


def test_a_tokenizer_with_a_pattern_of_its_own_is_refused():
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}}
    with pytest.raises(EngineError, match=r"may not end: '\(a\+\)\+\$'"):
        check_tokenizer(json.dumps({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split]}}).encode())
    check_tokenizer(json.dumps({"normalizer": {"type": "Replace", "pattern": {"Regex": " {2,}"}}}).encode())


def test_a_tokenizer_that_is_too_large_or_not_json_is_refused(monkeypatch):
    with pytest.raises(EngineError, match="not JSON"):
        check_tokenizer(b"[" * 100_000)
    monkeypatch.setattr(encoder, "MAX_TOKENIZER_BYTES", 10)
    with pytest.raises(EngineError, match="at most 10 are read"):
        check_tokenizer(TOKENIZER)
