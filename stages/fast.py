"""`noptik fast FORECAST`: the fast twin of a forecast's model, for iteration. Nothing it says is ever released.

Ridge with effects of media that are not negative (`engine.fast`), over all periods of the table, with the settings
under `fast` in params.yaml. It reads the table and writes nothing: no artifact, no statement, no entry in the log.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from audit import canonical
from audit.errors import AuditError, Malformed, Unavailable
from engine.errors import EngineError
from engine.spec_fast import FastSpec
from registry.errors import RegistryError
from stages.stage import declared_spec, failure, into_profile, load_params

if TYPE_CHECKING:
    import pyarrow as pa


def main(argv: Sequence[str]) -> int:
    """Prints what each channel added; 1 when refused, 2 when unavailable."""
    parser = argparse.ArgumentParser(prog="noptik fast", description=__doc__)
    parser.add_argument("forecast")
    arguments = parser.parse_args(argv)
    try:
        raw = declared_spec(Path.cwd(), arguments.forecast)
        into_profile(["-m", "stages.cli", "fast", arguments.forecast])
        _show(arguments.forecast, _contributions(Path.cwd(), raw, settings(Path.cwd())))
    except (AuditError, EngineError, RegistryError) as error:
        return failure(error)
    return 0


def settings(root: Path) -> FastSpec:
    """What params.yaml says under `fast`. Raises Malformed for what is not valid there."""
    declared = load_params(root).get("fast")
    try:
        return FastSpec.model_validate_json(canonical.encode(declared))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        place = f"params.yaml: fast.{where}"
        raise Malformed("settings of the fast twin", place, first["msg"], first["input"]) from error


def _contributions(root: Path, raw: bytes, fast: FastSpec) -> pa.Table:
    import numpy as np

    from engine import design as designs
    from engine import fast as twin
    from engine import ingest
    from engine.spec import parse_spec
    from engine.table import to_panel
    from stages import extraction
    from stages.creative_sources import read

    spec = parse_spec(raw)
    try:
        table = ingest.read((root / spec.data.path).read_bytes(), spec.data.of_table).table
    except OSError as error:
        raise Unavailable(f"cannot read the data: {error.strerror}", root / spec.data.path) from error
    if spec.data.creatives is not None:
        table = extraction.featured(table, spec.data, extraction.extracted(read(root, spec.data)))
    panel = to_panel(table, spec.data)
    time = len(panel.periods)
    design, _ = designs.build(panel, spec, time)
    shared = np.concatenate([design.trend.columns, design.season, design.events], axis=1)
    data = twin.FastData(
        y=np.asarray(design.y)[:time],
        media=np.asarray(design.media.spend)[:time],
        basis=shared[:time],
        controls=np.asarray(design.controls)[:time],
    )
    draws = np.random.Generator(np.random.PCG64(spec.seed))
    result = twin.fit(data, twin.geometric_logistic(data.media, fast.shapes), fast, draws)
    return twin.contributions_table(result, panel.series, [column.name for column in spec.data.media], fast.level)


def _show(forecast: str, table: pa.Table) -> None:
    print(f"{forecast}: fast twin, for iteration; release: never")
    print(f"{'series':<24} {'channel':<16} {'added':>9}  interval (shares of the mean outcome, model's scale)")
    for row in table.to_pylist():
        interval = f"{row['lower']:.4f} to {row['upper']:.4f}"
        print(f"{row['series']:<24} {row['channel']:<16} {row['contribution']:>9.4f}  {interval}")
    sys.stdout.flush()
