"""Registering a specification: into the store and the log before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audit.digest import Sha256
from audit.errors import Inconsistent
from audit.kinds import DATA, HOLDOUT, NUMBER, input_of
from audit.ledger import Ledger
from audit.receipt import Receipt
from audit.resource import DigestSet, ResourceDescriptor, Subject
from audit.statement import (
    BuildDefinition,
    Builder,
    ExternalParameters,
    InternalParameters,
    Metadata,
    Provenance,
    RunDetails,
    Statement,
)
from audit.store import Store
from audit.trustedentry import open_entry


def register_spec(
    ledger: Ledger,
    store: Store,
    specification: Path,
    name: str,
    forecast: str,
    data_sha256: Sha256,
    holdout_sha256: Sha256,
    internal: InternalParameters,
    builder: Builder,
    metadata: Metadata,
    beside: Sequence[tuple[Path, str]] = (),
) -> Receipt:
    """Afterwards the file `specification` is in the store and, as artifact `name`, in the log; its receipt.

    So are the files `beside`, each with its artifact's name: inputs that no later stage makes and that the source
    does not hold. They go wherever the specification goes: into every bundle of its runs, and into every replay.

    The receipt's `registration.number` is n for the n-th distinct specification of the same data. The holdout
    is committed to by its digest, a dependency of the statement. Registering again gives the first receipt,
    byte for byte, whatever the builder or metadata. Inconsistent: registered before with another holdout, or with
    other files beside it. Otherwise errors as `Ledger.register` and `Store.put`.
    """
    digest = store.put(specification)
    others = [Subject.of(other, store.put(path)) for path, other in beside]

    def statement(number: int) -> Statement:
        inputs = ((DATA, data_sha256), (HOLDOUT, holdout_sha256))
        build = BuildDefinition(
            external_parameters=ExternalParameters(
                forecast=forecast,
                stage="register",
                specification_sha256=digest.sha256,
                parameters={NUMBER: number},
            ),
            internal_parameters=internal,
            resolved_dependencies=tuple(
                ResourceDescriptor(name=what, digest=DigestSet.of("file", sha256)) for what, sha256 in inputs
            ),
        )
        run_details = RunDetails(builder=builder, metadata=metadata)
        provenance = Provenance(build_definition=build, run_details=run_details)
        return Statement(subject=(Subject.of(name, digest), *others), predicate=provenance)

    receipt = ledger.register(data_sha256, digest.sha256, statement)
    with ledger.reading() as log:
        entry = open_entry(next(log.entries(receipt.seq)), ledger.keys)
    logged = entry.require().statement
    committed = input_of(logged, HOLDOUT)
    if committed != holdout_sha256:
        raise Inconsistent("registered with another holdout", f"entry {receipt.seq}", committed, holdout_sha256)
    stated = {subject.name: subject.sha256 for subject in logged.subject if subject.name != name}
    given = {subject.name: subject.sha256 for subject in others}
    if stated != given:
        raise Inconsistent("registered with other files beside it", f"entry {receipt.seq}", stated, given)
    return receipt
