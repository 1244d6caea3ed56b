"""The page of the comparison, made from the figures that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = """# Compared with dlt

The same faults, played against fleetlake and against [dlt](https://dlthub.com) on the same simulated vendor and the same PostgreSQL
server; every run is a process of its own. `make compare` plays them again and writes this page; figures are single runs, on
{machine}.

| | |
| --- | --- |
| date | {date} |
| dlt | {dlt}, Python {python}, destination PostgreSQL, in a virtual environment of its own (`requirements-peers.txt`) |
| fleetlake | commit {commit} |
| vendor | the sandbox, seed 1: 8 bikes (PowUnity), 2 vehicles (RCS), no request quota |
| code | [`tools/compare`](../tools/compare): `dlt_side.py`, `fleetlake_side.py`, `scenarios.py` |

How to read it: **lost** rows of the vendor that are not in the table; **wrong** rows there that the vendor does not have, or does not
have any more; **stale** rows with values of an earlier day; **twice** rows that are there more than once; **requests** all of the
scenario, logins and lists included; **exit** status of the runs.

## What dlt is, and how it is configured here

dlt is a library that loads any source into any destination; most of what it offers (sources, destinations, schema inference and
evolution, nested data) is not measured here and not offered by fleetlake at all. Nothing of it knows a vendor; what is not in dlt was
written here the way a careful user would, from these pages:

- [merge](https://dlthub.com/docs/general-usage/merge-loading): *replace the days read* is `delete-insert` with device and day as merge
  key and the trip's key as primary key; *upsert by key*; *scd2 over the days read* with device and day as merge key. `hard_delete` needs
  a field in which the vendor says that a row is gone; this vendor has none.
- [lag](https://dlthub.com/docs/general-usage/incremental/lag): a cursor on the day, without deduplication at the border, since days are
  replaced as a whole. Without lag the last day is read again.
- [chunks](https://dlthub.com/docs/examples/backfill_in_chunks): `add_limit` on a resource in order of its cursor; each chunk is a load.
- [contracts](https://dlthub.com/docs/general-usage/schema-contracts): `evolve` (the default), `discard_row`, `freeze` of data types.
- Reports that a vendor prepares are the user's code; *two steps* loads the token first and waits in a second run.

What dlt does well here: merges do not double rows however often a day is loaded; answers that are broken as HTTP or JSON load nothing; an
odd value is kept in a column of its own by default; a lag long enough finds every late row; chunks bound what a kill costs.

"""

_TAIL = """
## What the differences come from

- **Killed.** dlt keeps its place with the data: a run that is killed in extraction begins again, in chunks at the last chunk.
  fleetlake commits each page as it comes and goes on after the last.
- **Late.** A lag is a guess: too short loses rows, long enough asks every night for what did not change. fleetlake learns how late a
  vendor's rows are and starts wide while it knows nothing ([how](late-data.md)).
- **Lies.** dlt takes an answer that looks like one for what the vendor has; so replacing days deletes what a short answer lacks. fleetlake
  deletes on the strength of an answer only when it is plausible and a second reading lacks the same rows; until then it shows what it
  knew, which is why lost and wrong are not 0 while the vendor lies. Its runs end with 0 here because these days were proven before, and
  no answer takes a proof away; the doubt stands in `ops.coverage_attempt`. Repeated pages come one request late: for three days of eight
  bikes most of them still bring what is there, by luck.
- **Deletions.** By key nothing is ever seen to be gone. Replacing days sees it, except for a device-day whose answer became empty: there
  is no row that would carry its merge key.
- **Jobs.** Between the vendor's answer and the first commit of dlt nothing remembers the token. [Ours](jobs.md) does not post again, but
  reads every vehicle.

## Run it again

```bash
make compare                                  # both sides; makes .venv/peers from requirements-peers.txt
python -m tools.compare --only lies           # one scenario
python -m tools.compare --without-peer        # our side only
```

`tests/faults/test_comparison.py` plays our side in every test run and holds this page to what it finds.
"""


def render(about: Mapping[str, str], figures: Sequence[Mapping[str, Any]]) -> str:
    """The whole page.

    Args:
        about: date, versions, machine.
        figures: as ``Figures.as_dict``.
    """
    text = _HEAD.format(**about)
    for scenario in dict.fromkeys(item["scenario"] for item in figures):
        text += f"## {scenario[0].upper()}{scenario[1:]}\n\n"
        text += "| | lost | wrong | stale | twice | requests | exit | |\n| --- | --: | --: | --: | --: | --: | --- | --- |\n"
        text += "".join(_row(item) for item in figures if item["scenario"] == scenario) + "\n"
    return text.rstrip("\n") + "\n" + _TAIL


def _row(item: Mapping[str, Any]) -> str:
    side = f"**{item['side']}**" if item["side"] == "fleetlake" else f"{item['side']}, {item['way']}"
    numbers = " | ".join(str(item[name]) for name in ("lost", "wrong", "stale", "duplicated", "requests"))
    return f"| {side} | {numbers} | {exits_of(item['exits'])} | {item['note']} |\n"


def exits_of(exits: list[str]) -> str:
    """Exit status of many runs in few words."""
    if len(exits) <= 3:
        return ", ".join(exits)
    failed = sum(status != "0" for status in exits)
    return f"{len(exits)} runs, {failed} failed" if failed else f"0, all {len(exits)} runs"
