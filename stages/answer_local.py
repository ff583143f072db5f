"""The engine `local` (`Embedded`): extractors and a model that are part of this project, behind the seam of the others.

lexicon, layout   features of the words and of their setting; no language model
image             statistics of the pixels; no vision model
embedding         a sentence encoder, where the optional package that carries its weights is installed
nearest           `registry.nearest`: answers a frozen prompt with the labels of the nearest demonstration
An extractor answers with the canonical JSON of its fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from audit import canonical
from audit.errors import Unavailable
from audit.recording import Request, Response
from engine import creative_embedding, creative_image, creative_layout, creative_lexicon
from engine.creative_field import Field, Value
from registry import nearest

REVISION = "1"  # of the extractors: another one is another model
TEXTS = {"lexicon": creative_lexicon, "layout": creative_layout, "embedding": creative_embedding}


class Embedded:
    """Answers from what is part of this project. Pure: the same request has the same answer, here and everywhere."""

    def answer(self, request: Request, images: Mapping[str, bytes], who: str) -> Response:
        """The answer to `request`, asked for `who`. Raises Unavailable for a model that is not part of this project."""
        if request.model == nearest.NAME:
            content = nearest.answer([message.model_dump(mode="json") for message in request.messages])
        elif takes_image(request.model):
            content = _said(creative_image.extract(images[_content(request)[0]["image_url"]["url"]]))
        elif request.model in TEXTS:
            content = _said(TEXTS[request.model].extract(_content(request)))
        else:
            known = ", ".join(sorted([*TEXTS, "image", nearest.NAME]))
            raise Unavailable(
                f"{who}: no model of this name is part of the project", "engine local", known, request.model
            )
        return Response(content=content, model=request.model, finish_reason="stop")


def takes_image(model: str) -> bool:
    """Whether an extractor looks at the image, and not at the text."""
    return model == "image"


def fields(model: str) -> Sequence[Field]:
    """What an extractor gives."""
    return creative_image.FIELDS if takes_image(model) else TEXTS[model].FIELDS


def read(content: str) -> dict[str, Value]:
    """The values that an extractor's answer holds."""
    values: dict[str, Value] = json.loads(content)
    return values


def _content(request: Request) -> Any:
    return request.messages[-1].model_dump(mode="json")["content"]


def _said(values: Mapping[str, Value]) -> str:
    return canonical.encode(dict(values)).decode("utf-8")
