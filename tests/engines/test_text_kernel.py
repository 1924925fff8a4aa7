"""The text kernel: features equal to scikit-learn's for any options and texts, and no damage ends the process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer

from headway.core.errors import EngineError
from headway.engines import _text
from headway.engines.compiled.artifact import LEVELS
from headway.engines.compiled.text import TextModel
from headway.engines.estimators.texts import RawTexts, TextBuilder, TextFeatures
from headway.engines.formats.text import write_text_program

# The library warns of parameters that an analyzer does not use.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

HERE = LEVELS[: _text.level() + 1]
CORPUS = [
    "The card was lost, the CARD is at 7 o'clock",
    "Ünder the café naïve ÉCOLE İstanbul ßtraße ﬁne ™ 2²",
    "東京 привет мир 😀 👩‍👩‍👧 e\u0301 ١٢٣ x_y __ a1",
    "a  b\t\tc\n\r\nd\x1ce\x85f\xa0g\u2028h\u3000i \x00 j",
    "money transfer money order " * 40,
]
PIECES = st.sampled_from(
    [*" ".join(CORPUS[:4]).split(" "), "card", "CARD", "the", " ", "  ", "\t", "\n", "é", "É", "\x00"]
)
TEXT = st.one_of(
    st.lists(PIECES, max_size=12).map(" ".join),
    st.lists(PIECES, max_size=12).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)


def features_program(vectorizer) -> bytes:
    """Return a program whose scores are the features of a vectorizer."""
    builder = TextBuilder(1)
    features = builder.read_step(vectorizer, TextFeatures([RawTexts(index=0)]))
    scores = builder.linear(features, np.eye(len(features)), np.zeros(len(features)))
    return write_text_program(builder.program(scores, texts=[0]))


def check(vectorizer, texts: list[str], level: str = "") -> None:
    """Compare the features of texts with the library's."""
    found = TextModel(features_program(vectorizer), {"level": level} if level else {}).score(texts)
    np.testing.assert_allclose(found, vectorizer.transform(texts).toarray(), rtol=1e-12, atol=1e-13)


@given(data=st.data())
@settings(max_examples=150)
def test_words_and_characters_are_counted_as_the_library_counts_them(data):
    low = data.draw(st.integers(1, 5))
    vectorizer = CountVectorizer(
        analyzer=data.draw(st.sampled_from(["word", "char", "char_wb"])),
        ngram_range=(low, low + data.draw(st.integers(0, 3))),
        lowercase=data.draw(st.booleans()),
        strip_accents=data.draw(st.sampled_from([None, "ascii", "unicode"])),
        token_pattern=data.draw(
            st.sampled_from([r"(?u)\b\w\w+\b", r"(?u)\b\w+\b", r"\w+", r"\S+", r"\b\w{3,}\b", r"\w\w\w+"])
        ),
        stop_words=data.draw(st.sampled_from([None, "english", ["card", "café", "東京"]])),
        binary=data.draw(st.booleans()),
    )
    texts = data.draw(st.lists(TEXT, min_size=1, max_size=6))
    try:
        vectorizer.fit([*CORPUS, *texts])
    except ValueError:
        return  # no words at all
    check(vectorizer, [*texts, *CORPUS], data.draw(st.sampled_from(HERE)))


@given(data=st.data())
def test_tf_idf_has_the_values_of_the_library(data):
    vectorizer = TfidfVectorizer(
        norm=data.draw(st.sampled_from(["l1", "l2", None])),
        use_idf=data.draw(st.booleans()),
        sublinear_tf=data.draw(st.booleans()),
        binary=data.draw(st.booleans()),
        ngram_range=(1, data.draw(st.integers(1, 3))),
    ).fit(CORPUS)
    check(vectorizer, data.draw(st.lists(TEXT, min_size=1, max_size=6)))


@given(data=st.data())
def test_features_are_hashed_as_the_library_hashes_them(data):
    vectorizer = HashingVectorizer(
        n_features=data.draw(st.sampled_from([1, 7, 64, 1000])),
        alternate_sign=data.draw(st.booleans()),
        norm=data.draw(st.sampled_from(["l1", "l2", None])),
        binary=data.draw(st.booleans()),
        analyzer=data.draw(st.sampled_from(["word", "char", "char_wb"])),
        ngram_range=(1, data.draw(st.integers(1, 3))),
    )
    check(vectorizer, [*data.draw(st.lists(TEXT, min_size=1, max_size=6)), *CORPUS])


def test_every_character_of_unicode_is_a_letter_or_a_space_as_in_python():
    vectorizer = CountVectorizer(analyzer="word", token_pattern=r"\w+", lowercase=False, vocabulary=["b"]).fit([""])
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    texts = [f"b{character}b" for character in characters]
    found = TextModel(features_program(vectorizer), {}).score(texts)[:, 0] == 0
    assert found.tolist() == [character.isalnum() or character == "_" for character in characters]


@pytest.mark.parametrize("ngram_range", [(1, 1), (1, 3), (3, 3)])
def test_a_vocabulary_of_the_users_own_may_hold_sequences_that_no_text_has(ngram_range):
    words = ["transfer", "transfers", "transferred", "é", "x" * 63, "x" * 64]
    odd = [
        "",
        " ",
        " transfer",
        "transfer ",
        "transfer  é",
        "transfer é transfers",
        "é transfer",
        f"{words[4]} {words[5]}",
    ]
    vectorizer = CountVectorizer(vocabulary=[*words, *odd], token_pattern=r"\w+", ngram_range=ngram_range).fit([""])
    texts = [
        " ".join(words),
        "transfer  é,transfers é transfer",
        "x" * 64 + " " + "x" * 63 + " " + "x" * 64,
        "",
        " transfer ",
    ]
    check(vectorizer, texts)


@pytest.mark.parametrize("length", [7, 8, 9, 15, 16, 17])
@pytest.mark.parametrize("before", [0, 1, 40, 57, 63, 64, 65, 128])
def test_words_are_found_wherever_they_begin_and_end(before, length):
    word = "abcdefghijklmnopqrst"[:length]
    vectorizer = CountVectorizer(vocabulary=[word, word[:-1], word + "u", word[:-1] + "u"]).fit([""])
    check(vectorizer, [f"{'-' * before}{word}", f"{'-' * before}{word}-", f"{word}{' ' * before}{word}u"])


def test_a_text_of_a_million_words_is_counted():
    vectorizer = CountVectorizer(ngram_range=(1, 2), vocabulary=["money", "money order", "order money"]).fit([""])
    assert TextModel(features_program(vectorizer), {}).score(["money order " * 500_000]).tolist() == [
        [500_000, 500_000, 499_999]
    ]


def test_a_text_with_more_features_than_the_first_table_holds_is_counted():
    words = [f"w{number}" for number in range(5000)]
    vectorizer = CountVectorizer().fit([" ".join(words)])
    check(vectorizer, [" ".join(words), " ".join(words[:2500]), "w1"])


@pytest.mark.parametrize("texts", [[None], [3], [b"bytes"], ["lone \ud800 surrogate"]])
def test_what_is_not_a_text_is_refused(texts):
    model = TextModel(features_program(CountVectorizer().fit(CORPUS)), {})
    with pytest.raises(EngineError, match="cannot read these texts"):
        model.score(texts)


def test_columns_of_different_lengths_are_refused():
    model = TextModel(features_program(CountVectorizer().fit(CORPUS)), {})
    with pytest.raises(EngineError, match="expected a tuple of 1 columns"):
        model.score(["a"], ["b"])
    with pytest.raises(EngineError, match="shape of this model"):
        model.score(["a"], rows=np.zeros((2, 1)))


def test_threads_that_call_it_at_once_get_each_their_own_scores():
    model = TextModel(features_program(TfidfVectorizer().fit(CORPUS)), {})
    batches = [[f"{text} {number}" for text in CORPUS] for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(model.score, batches))
    assert all(np.array_equal(one, model.score(batch)) for one, batch in zip(found, batches, strict=True))


CONTENT = features_program(TfidfVectorizer(ngram_range=(1, 2), stop_words=["the"]).fit(CORPUS[:3]))


@given(data=st.data())
@settings(max_examples=400)
def test_a_damaged_program_is_refused_or_answers_but_never_ends_the_process(data):
    damaged = bytearray(CONTENT)
    for _ in range(data.draw(st.integers(1, 4))):
        end = data.draw(st.sampled_from([200, 600, len(CONTENT)]))
        at = data.draw(st.integers(0, end - 1))
        damaged[at] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
    content = bytes(damaged[: data.draw(st.sampled_from([len(damaged), len(damaged), 100, 700]))])
    try:
        model = TextModel(content, {})
    except EngineError as refusal:
        assert refusal.hint
        return
    try:
        scores = model.score(*[CORPUS] * len(model.texts))
    except EngineError:
        return
    assert len(scores) == len(CORPUS)
