"""``fleetlake why``: where a row comes from, down to the bytes of the vendor's answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetlake.commands.common import opened_warehouse
from fleetlake.contracts import Contract, load_contracts
from fleetlake.errors import ConfigError
from fleetlake.fleet_tables import FleetTable, load_fleet_tables
from fleetlake.printing import plain
from fleetlake.settings import Settings

if TYPE_CHECKING:
    from fleetlake.fleet.origin import Sources
    from fleetlake.pipeline.why import Cell, Origin, Why
    from fleetlake.warehouse import Warehouse

app = typer.Typer()


@app.command()
def why(
    table: Annotated[str, typer.Argument(help="Table, for example powunity.trip or fleet.trip.")],
    key: Annotated[
        list[str] | None,
        typer.Argument(help="Values of the key columns in order, or name=value; none: how the key is written."),
    ] = None,
    account: Annotated[str | None, typer.Option(help="Only this account's.")] = None,
    limit: Annotated[int, typer.Option(help="Vendors' rows told of a row of schema fleet, per table.", min=1)] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell where a row comes from: load, contract, raw page and byte range, request, run, and the vendor's own JSON.

    The JSON is as the vendor sent it, personal data included.
    """
    settings = Settings.from_env()
    contracts, model = load_contracts(settings.include), load_fleet_tables(settings.include)
    if table not in contracts and table not in model:
        import difflib

        near = difflib.get_close_matches(table, [*contracts, *model], 3)
        raise ConfigError(
            f"there is no table {table!r}", remedy=f"did you mean {' or '.join(near)}?" if near else "fleetlake sql"
        )
    with opened_warehouse() as warehouse:
        if table in contracts:
            answer = _of_vendor(settings, warehouse, contracts[table], key or [], account)
        else:
            answer = _of_fleet(settings, warehouse, contracts, model[table], key or [], account, limit)
    if answer is None:
        return
    typer.echo(json.dumps(answer, ensure_ascii=False) if as_json else _as_text(answer))


def _of_vendor(
    settings: Settings, warehouse: Warehouse, contract: Contract, key: list[str], account: str | None
) -> dict[str, Any] | None:
    from fleetlake.pipeline.rowkeys import RowFinder
    from fleetlake.pipeline.why import Why

    with warehouse.session() as connection:
        types = {column.name: column.type for column in contract.all_columns}
        finder = RowFinder(connection, contract.table, types, contract.key)
        if not key:
            typer.echo(finder.usage())
            return None
        return described(Why(settings, connection).origin(contract, finder.find(key, account)))


def _of_fleet(
    settings: Settings,
    warehouse: Warehouse,
    contracts: Mapping[str, Contract],
    table: FleetTable,
    key: list[str],
    account: str | None,
    limit: int,
) -> dict[str, Any] | None:
    from fleetlake.fleet import origin
    from fleetlake.fleet import status as model_status
    from fleetlake.pipeline.rowkeys import RowFinder
    from fleetlake.pipeline.why import Why

    if not model_status(warehouse)["built"]:
        raise ConfigError("the fleet model was never built", remedy="fleetlake model build")
    with warehouse.session() as connection:
        finder = RowFinder(
            connection, table.table, {column.name: column.type for column in table.columns}, origin.naming(table)
        )
        if not key:
            typer.echo(finder.usage())
            return None
        row = finder.find(key, account)
        connection.commit()
        again = origin.made_again(connection, settings.include, table, row)
        asked = Why(settings, connection)
        found = list(origin.sources(connection, contracts, table, row, limit))
        return {
            "table": table.table,
            "key": {name: plain(row[name]) for name in origin.naming(table)},
            "row": {name: plain(value) for name, value in row.items()},
            "made_again": "equal" if again == row else "different: build the model" if again else "no row: build the model",
            "model_version": table.version,
            "sources": [_source(asked, item) for item in found],
            "notes": [] if found else ["no vendor's row: it comes from include/fleet/vehicles.yaml, or is proven empty"],
        }


def _source(asked: Why, item: Sources) -> dict[str, Any]:
    return {
        "table": item.contract.table,
        "rows": item.total,
        "shown": [described(asked.origin(item.contract, row)) for row in item.rows],
    }


def described(found: Origin) -> dict[str, Any]:
    """An origin as JSON."""
    page, place, load = found.page, found.place, found.load
    return {
        "table": found.table,
        "key": {name: plain(value) for name, value in found.key.items()},
        "load": {name: plain(load.get(name)) for name in ("load_id", "published_at", "dag_id", "run_id", "lane", "kind")},
        "contract": {"then": load.get("contract_version"), "now": found.contract_now},
        "page": {
            "path": page.path,
            "sha256": page.sha256,
            "bytes": page.size,
            "row": found.row["raw_row"],
            "start": place.start if place else None,
            "end": place.end if place else None,
            "elsewhere": [list(item) for item in place.elsewhere] if place else [],
            "added": list(place.added) if place else [],
            "around": list(place.around) if place and place.around else None,
        },
        "request": {
            "request": page.request,
            "status": page.status,
            "fetched_at": plain(page.fetched_at),
            "scope": page.key.scope,
            "window": str(page.key.window) if page.key.window else None,
        },
        "vendor_json": found.raw,
        "cells": [_cell(cell) for cell in found.cells],
        "replayed": "equal" if found.is_same else "different",
        "notes": found.notes,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "column": cell.column,
        "source": cell.source,
        "vendor_value": cell.vendor_value,
        "factor": cell.factor,
        "source_unit": cell.source_unit,
        "unit": cell.unit,
        "value": plain(cell.value),
        "stored": plain(cell.stored),
        "same": cell.is_same,
        "page": cell.page,
    }


def _as_text(answer: Mapping[str, Any]) -> str:
    key = " ".join(f"{name}={value}" for name, value in answer["key"].items())
    if "sources" not in answer:
        return _origin_text(answer, key)
    lines = [f"{answer['table']} {key}", f"  made again by the model's own queries: {answer['made_again']}"]
    lines += [f"    {name}: {value}" for name, value in answer["row"].items() if value is not None]
    for source in answer["sources"]:
        lines.append(f"\nfrom {source['rows']} rows of {source['table']}, the first {len(source['shown'])}:")
        for item in source["shown"]:
            lines.append(_origin_text(item, " ".join(f"{name}={value}" for name, value in item["key"].items())))
    lines += [f"  note: {note}" for note in answer["notes"]]
    return "\n".join(lines)


def _origin_text(item: Mapping[str, Any], key: str) -> str:
    load, page, request = item["load"], item["page"], item["request"]
    where = f"bytes {page['start']}-{page['end']} of {page['bytes']}" if page["start"] is not None else "no single place"
    lines = [
        f"{item['table']} {key}",
        f"  load      {load['load_id']} published {load['published_at']}",
        f"  contract  {item['contract']['then']} then, {item['contract']['now']} now",
        f"  raw page  {page['path']} row {page['row']}, {where}",
        f"  request   {request['request']} -> {request['status']} at {request['fetched_at']}",
        f"  asked of  {request['scope']} {request['window'] or ''}".rstrip(),
        f"  run       {load['dag_id']} {load['run_id']} ({load['lane']})",
        *(f"  note      {note}" for note in item["notes"]),
        f"  the vendor said  {item['vendor_json']}",
        f"  read again it is {item['replayed']}",
    ]
    for cell in item["cells"]:
        if cell["source"] is None and cell["value"] is None and cell["same"]:
            continue
        said = (
            ""
            if cell["source"] is None
            else f" <- {cell['source']} = {json.dumps(cell['vendor_value'], ensure_ascii=False)}"
        )
        unit = f" [{cell['source_unit']}]" if cell["source_unit"] and cell["source"] else ""
        factor = f" x {cell['factor']:g}" if cell["factor"] is not None else ""
        other = f" (page {cell['page']})" if cell["page"] else ""
        differs = "" if cell["same"] else f"   DIFFERS: stored is {cell['stored']}"
        own = f" {cell['unit']}" if cell["unit"] else ""
        lines.append(f"    {cell['column']} = {cell['value']}{own}{said}{unit}{factor}{other}{differs}")
    return "\n".join(lines)
