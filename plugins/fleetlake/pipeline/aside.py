"""Rows set aside: the quarantine records of a batch."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from fleetlake.pipeline.batch import Batch, Split, asked
from fleetlake.pipeline.fingerprint import reading_of
from fleetlake.warehouse import QuarantineRecord

if TYPE_CHECKING:
    from fleetlake.pipeline.run import Run
    from fleetlake.quality.verdict import Verdict
    from fleetlake.raw import RawStore


def typing_rejects(run: Run, batch: Batch) -> list[QuarantineRecord]:
    """Rows of a batch that could not be typed."""
    return [
        _quarantine(
            run,
            batch,
            scope=item.scope,
            stage="type",
            check="type",
            column=item.reject.column,
            reason=item.reject.reason,
            severity="error",
            raw=item.raw,
            page=item.page.path,
            index=item.reject.index,
            key=None,
        )
        for item in batch.rejects
    ]


def audit_rejects(run: Run, batch: Batch, verdict: Verdict, raw: RawStore, split: Split) -> list[QuarantineRecord]:
    """Rows of a batch that failed its audit, as the vendor sent them."""
    if not verdict.rejected:
        return []
    contract = batch.contract
    pages = {page.path: page for page in batch.pages}
    names = ["raw_page", "raw_row", *contract.key]
    rows = batch.table.select(names).take([item.row_index for item in verdict.rejected]).to_pylist()
    bodies: dict[str, list[Any]] = {}
    records = []
    for item, row in zip(verdict.rejected, rows, strict=True):
        page = row["raw_page"]
        if page not in bodies:
            bodies[page] = split(pages[page].key.feed, contract.table, raw.body(page), asked(pages[page]))
        records.append(
            _quarantine(
                run,
                batch,
                scope=pages[page].key.scope,
                stage="quality",
                check=item.check,
                column=item.column,
                reason=item.reason,
                severity=item.severity,
                raw=bytes(bodies[page][row["raw_row"]]).decode(errors="replace"),
                page=page,
                index=row["raw_row"],
                key=" ".join(str(row[name]) for name in contract.key[1:]),
            )
        )
    return records


def _quarantine(run: Run, batch: Batch, **fields: Any) -> QuarantineRecord:
    identity = json.dumps([batch.contract.table, run.account.name, fields["raw"], fields["check"], fields["column"]])
    return QuarantineRecord(
        id=hashlib.sha256(identity.encode()).hexdigest()[:32],
        account=run.account.name,
        dataset=batch.contract.table,
        load_id=batch.load_id,
        contract_version=batch.contract.version,
        reading=reading_of(batch.contract, run.account.name),
        **fields,
    )
