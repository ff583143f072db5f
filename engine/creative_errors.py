"""How what is read of creatives refuses: their content, an image's, and a model that is not there, kept apart."""

from __future__ import annotations

from engine.errors import EngineError


class CreativeError(EngineError):
    """Creatives, or a text of theirs, that are not what they must be."""


class ImageError(CreativeError):
    """Bytes that are no image, or none that is looked at."""


class EmbeddingError(EngineError):
    """A sentence model's files that are not the ones expected."""


class EmbeddingUnavailableError(EngineError):
    """The optional package with the sentence model is not installed: says nothing about any creative."""
