"""Position files of a Traccar 5.12 server: CSV, GPX, KML, and a stand-in for its spreadsheets."""

from __future__ import annotations

import html
import io
import zipfile
from collections.abc import Sequence
from typing import Any

from fleetlake.sandbox.powunity.model import SECOND, Position, iso

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv"
GPX = "application/gpx+xml"
KML = "application/vnd.google-earth.kml+xml"

_COLUMNS = [
    "id",
    "deviceId",
    "protocol",
    "serverTime",
    "deviceTime",
    "fixTime",
    "valid",
    "latitude",
    "longitude",
    "altitude",
    "speed",
    "course",
    "address",
    "accuracy",
]


def _instant(ms: int) -> str:
    # Unlike in JSON: with Z, and no trailing zeros of a second.
    return iso(ms, "").rstrip("0").rstrip(".") + "Z" if ms % SECOND else iso(ms, "")[:-4] + "Z"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def csv(positions: Sequence[Position]) -> str:
    """Positions as CSV: fixed columns, then every attribute that occurs; nothing is quoted."""
    keys = sorted({key for position in positions for key in position.attributes})
    lines = [",".join([*_COLUMNS, *keys])]
    for position in positions:
        row = position.as_json()
        row |= {
            "serverTime": _instant(position.server_ms),
            "deviceTime": _instant(position.device_ms),
            "fixTime": _instant(position.fix_ms),
        }
        cells = [row[column] for column in _COLUMNS] + [position.attributes.get(key) for key in keys]
        lines.append(",".join(map(_cell, cells)))
    return "\n".join(lines) + "\n"


def gpx(name: str, positions: Sequence[Position]) -> str:
    """Positions as GPX 1.0, one track with one segment."""
    points = "".join(
        f'<trkpt lat="{p.latitude}" lon="{p.longitude}"><ele>{p.altitude}</ele><time>{_instant(p.fix_ms)}</time></trkpt>'
        for p in positions
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><gpx version="1.0"><trk>'
        f"<name>{name}</name><trkseg>{points}</trkseg></trk></gpx>"
    )


def kml(name: str, positions: Sequence[Position], start_ms: int, end_ms: int) -> str:
    """Positions as KML: one line of longitude, latitude, altitude."""
    title = " - ".join(iso(ms)[:16].replace("T", " ") for ms in (start_ms, end_ms))
    line = " ".join(f"{p.longitude:f},{p.latitude:f},{p.altitude:f}" for p in positions)
    return (
        '<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>'
        f"<name>{name}</name><Placemark><name>{title}</name><LineString><extrude>1</extrude><tessellate>1</tessellate>"
        f"<altitudeMode>absolute</altitudeMode><coordinates>{line}</coordinates></LineString></Placemark></Document></kml>"
    )


def spreadsheet(rows: Sequence[dict[str, Any]]) -> bytes:
    """A small but valid workbook with the rows as text: what a caller gets who does not ask for JSON."""
    header = list(rows[0]) if rows else []
    table = [header, *([_cell(row[key]) for key in header] for row in rows)]
    sheet = "".join(
        "<row>" + "".join(f'<c t="inlineStr"><is><t>{html.escape(cell)}</t></is></c>' for cell in line) + "</row>"
        for line in table
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument'
        '.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Report" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{sheet}</sheetData></worksheet>',
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as book:
        for name, content in parts.items():
            # A fixed date: the same rows give the same bytes.
            book.writestr(zipfile.ZipInfo(name), '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>' + content)
    return buffer.getvalue()
