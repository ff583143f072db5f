"""What a specification may say about creatives: where they lie, what extracts features from them, and which features
become controls of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.declared import Count, Frozen, Name, Text

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Model = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,99}$")]
RESERVED = frozenset({"table", "record", "recordings"})  # files of the stage that no extractor may take the name of


class Prompted(Frozen):
    """A language or vision model under a frozen prompt: fields are those of the prompt's signature.

    engine replay: what was recorded, and nothing else; local: the one model for prompts that is part of this project.
    """

    kind: Literal["prompt"]
    name: Name
    prompt: Name  # its folder below registry/prompts
    sha256: Sha256  # of the prompt's manifest: another prompt of the same name is refused
    engine: Literal["replay", "local"]
    model: Model
    revision: Model
    max_tokens: Annotated[int, Field(ge=1, le=2**17)]  # of an answer

    @model_validator(mode="after")
    def _known(self) -> Prompted:
        if self.engine == "local" and (self.model, self.revision) != ("nearest", "1"):
            found = f"{self.model}, revision {self.revision}"
            raise ValueError(f"engine local: expected model nearest, revision 1, which answers prompts, found {found}")
        return self


class Local(Frozen):
    """An extractor that is part of this project, by name: no language model, and no prompt."""

    kind: Literal["local"]
    name: Name
    model: Literal["lexicon", "layout", "image", "embedding"]


Extractor = Annotated[Prompted | Local, Field(discriminator="kind")]


class Creatives(Frozen):
    """A folder with creatives.jsonl, the images it names, and recordings.jsonl where an extractor replays.

    It lies below data/creatives, which is what a bundle can withhold, what a stage depends on, and what a replay has.
    """

    folder: Annotated[str, Field(pattern=r"^data/creatives/[a-z0-9][a-z0-9_-]{0,79}$")]
    max_bytes: Count  # of creatives.jsonl
    extractors: tuple[Extractor, ...]

    @model_validator(mode="after")
    def _names(self) -> Creatives:
        names = [extractor.name for extractor in self.extractors]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"creatives.extractors: expected distinct names, found {', '.join(twice)} more than once")
        if taken := sorted(RESERVED & set(names)):
            raise ValueError(f"creatives.extractors: expected other names than the stage's own, found {taken[0]}")
        return self


class Feature(Frozen):
    """A feature as a control: in each period and location, a summary over the creatives that ran there then.

    mean: of the field, or with `value` the share of creatives with it; sum: the same added up.
    """

    extractor: Name
    field: Name
    value: Text | None = None  # of a choice
    channels: tuple[Name, ...]  # whose creatives; none: of every channel
    summary: Literal["mean", "sum"]
    empty: Annotated[float, Field(ge=-1e12, le=1e12)]  # where no creative ran


def feature_faults(
    creatives: Creatives | None, features: Sequence[tuple[str, str, Feature]], channels: Sequence[str]
) -> Iterator[str]:
    """Features (by their control's name and column) that are named as something else, or of nothing declared."""
    extractors = [] if creatives is None else [extractor.name for extractor in creatives.extractors]
    for name, column, feature in features:
        where = f"data.controls.{name}.feature"
        if column != (expected := f"{feature.extractor}.{feature.field}"):
            yield f"data.controls.{name}.column: expected {expected}, which is the feature, found {column}"
        if feature.extractor not in extractors:
            known = ", ".join(extractors) or "none"
            yield f"{where}: expected an extractor of data.creatives ({known}), found {feature.extractor}"
        for channel in feature.channels:
            if channel not in channels:
                yield f"{where}: expected a channel ({', '.join(channels)}), found {channel}"
