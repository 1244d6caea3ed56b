"""Data Docs: task processes store results, one call makes pages of them.

::

    docs_dir/results/<dataset>/<account>/<day>~<load>.json   latest result of a batch, written whole or not at all
    docs_dir/pages/<dataset>/<account>/<day>~<load>.html     its page, made by Great Expectations' renderers
    docs_dir/index.html                                      all pages, newest day first

Any number of processes may store and build at once: each file is replaced atomically, nothing is locked, and building
looks only at the results. Pages need no network: they carry their style and have no scripts.
"""

from __future__ import annotations

import copy
import datetime as dt
import html
import json
import logging
import os
import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetlake.errors import StoreUnavailable
from fleetlake.quality import engine
from fleetlake.quality.suite import column_types_expectation
from fleetlake.window import Window

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from jinja2 import Environment

KEEP_DAYS = 31
"""Results kept for a dataset and account: those of the newest so many days (or other windows)."""

KEEP_BATCHES = 32
"""Results kept for one of these days: those of the batches checked last."""

_TEMPLATES = Path(__file__).parent / "templates"
_LISTED = 20  # values of a set or sample that a stored result keeps

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Stored:
    """A stored result: its name below ``results`` and ``pages``, and what the index says about it."""

    name: str
    written: float
    data: dict[str, Any]


def store_result(
    docs_dir: Path,
    *,
    dataset: str,
    account: str,
    window: Window | None,
    load_id: str,
    description: str,
    rows: int,
    rejected_rows: int,
    reasons: Sequence[tuple[int, str]],
    held: str,
    warnings: int,
    results: Iterable[tuple[ExpectationValidationResult, int, int]],
) -> Path:
    """Store what an audit found, in place of what an earlier audit of the same batch found.

    Args:
        docs_dir: folder of the Data Docs.
        dataset: table of the batch.
        account: its account.
        window: its window; without one the page stands under today's date.
        load_id: id of the batch.
        description: what a row is.
        rows: rows of the batch.
        rejected_rows: rows set aside.
        reasons: the first of them, with their reasons.
        held: why the batch is held, empty if it is not.
        warnings: failed checks of severity ``warning``.
        results: results with the number of evaluated and of unexpected values in the whole batch.

    Raises:
        StoreUnavailable: the folder cannot be written.
    """
    now = dt.datetime.now(dt.UTC)
    day = _label(window) if window else f"{now:%Y-%m-%d}"
    details = [_detail(*result, rows) for result in results]
    passed = sum(item["success"] for item in details)
    data = {
        "title": f"{dataset} · {account} · {day}",
        "dataset": dataset,
        "account": account,
        "day": day,
        "order": window.start.isoformat() if window else day,
        "load_id": load_id,
        "description": description,
        "checked_at": now.isoformat(timespec="seconds"),
        "rows": rows,
        "rejected_rows": rejected_rows,
        "reasons": reasons,
        "held": held,
        "warnings": warnings,
        "checks": len(details),
        "failed_checks": len(details) - passed,
        "state": "held" if held else "rejected" if rejected_rows else "warning" if warnings else "passed",
        "result": {
            "success": passed == len(details),
            "suite_name": dataset,
            "suite_parameters": {},
            "statistics": {
                "evaluated_expectations": len(details),
                "successful_expectations": passed,
                "unsuccessful_expectations": len(details) - passed,
                "success_percent": 100 * passed / len(details) if details else None,
            },
            "results": details,
            "meta": {"run_id": {"run_name": load_id, "run_time": now.isoformat()}},
        },
    }
    name = "/".join(_file_name(text) for text in (dataset, account, f"{day}~{load_id}"))
    path = docs_dir / "results" / f"{name}.json"
    _write(path, json.dumps(data, ensure_ascii=False))
    return path


def build_docs(docs_dir: Path) -> Path:
    """Make the pages of all stored results and their index; pages that are up to date are left alone.

    Old results and their pages are removed, see ``KEEP_DAYS`` and ``KEEP_BATCHES``.

    Returns:
        Path of ``index.html``.

    Raises:
        StoreUnavailable: the folder cannot be written.
    """
    kept, surplus = _retain(list(_stored(docs_dir)))
    for item in surplus:
        (docs_dir / "results" / f"{item.name}.json").unlink(missing_ok=True)
        (docs_dir / "pages" / f"{item.name}.html").unlink(missing_ok=True)
    newest_template = max(path.stat().st_mtime for path in _TEMPLATES.iterdir())
    for item in kept:
        page = docs_dir / "pages" / f"{item.name}.html"
        if not page.is_file() or page.stat().st_mtime < max(item.written, newest_template):
            _write(page, _render_page(item))
    index = docs_dir / "index.html"
    _write(index, _index_environment().get_template("index.j2").render(items=kept))
    return index


def _detail(result: ExpectationValidationResult, evaluated: int, unexpected: int, rows: int) -> dict[str, Any]:
    """A result as JSON, with the counts of the whole batch and without lists that grow with it."""
    for key in ("unexpected_list", "unexpected_index_list", "unexpected_index_query", "partial_unexpected_index_list"):
        result.result.pop(key, None)
    detail: dict[str, Any] = result.to_json_dict()
    values = detail["result"]
    if "unexpected_count" in values:
        values |= {
            "element_count": rows,
            "missing_count": rows - evaluated,
            "missing_percent": _pct(rows - evaluated, rows),
            "unexpected_count": unexpected,
            "unexpected_percent": _pct(unexpected, rows),
            "unexpected_percent_total": _pct(unexpected, rows),
            "unexpected_percent_nonmissing": _pct(unexpected, evaluated),
        }
    if not detail["success"] and not values:
        # The traceback of a check that broke is for the log; the page says what broke.
        infos = detail["exception_info"]
        for info in [infos, *infos.values()]:
            if isinstance(info, dict) and "exception_traceback" in info:
                info["exception_traceback"] = ""
    known = detail["expectation_config"]["kwargs"].get("value_set")
    if isinstance(known, list) and len(known) > _LISTED:
        detail["expectation_config"]["kwargs"]["value_set"] = [*known[:_LISTED], f"… {len(known) - _LISTED} more"]
    return detail


def _stored(docs_dir: Path) -> Iterable[_Stored]:
    root = docs_dir / "results"
    for path in sorted(root.glob("*/*/*.json")):
        try:
            written = path.stat().st_mtime
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue  # another process has just removed it
        except ValueError:
            _log.warning("%s is damaged and left out of the Data Docs; auditing the batch again replaces it", path)
            continue
        yield _Stored(str(path.relative_to(root).with_suffix("")), written, data)


def _retain(items: list[_Stored]) -> tuple[list[_Stored], list[_Stored]]:
    """Results to keep, in the order of the index, and results to remove."""
    days: dict[tuple[str, str], dict[tuple[str, str], list[_Stored]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        days[item.data["dataset"], item.data["account"]][item.data["order"], item.data["day"]].append(item)
    kept, surplus = [], []
    for by_day in days.values():
        for position, day in enumerate(sorted(by_day, reverse=True)):
            batches = sorted(by_day[day], key=lambda item: item.written, reverse=True)
            limit = KEEP_BATCHES if position < KEEP_DAYS else 0
            kept += batches[:limit]
            surplus += batches[limit:]
    kept.sort(key=lambda item: (item.data["dataset"], item.data["account"], -item.written))
    return kept, surplus


def _render_page(item: _Stored) -> str:
    from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema

    renderer, view = _renderers()
    result = expectationSuiteValidationResultSchema.load(_escaped(item.data["result"]))
    document = renderer.render(result).to_json_dict()
    depth = "../" * (item.name.count("/") + 1)
    # The overview is ours (see the template): Great Expectations' own speaks of its files.
    document["sections"] = document["sections"][1:]
    return str(view.render(document, template="result.j2", item=item.data, home=f"{depth}index.html"))


def _escaped(result: dict[str, Any]) -> dict[str, Any]:
    """The result with values of the data made safe for HTML: Great Expectations writes samples of them as they are."""

    def safe(value: Any) -> Any:
        if isinstance(value, str):
            return html.escape(value, quote=False)
        if isinstance(value, dict):
            return {key: safe(item) for key, item in value.items()}
        return [safe(item) for item in value] if isinstance(value, list) else value

    copied = copy.deepcopy(result)
    for detail in copied["results"]:
        kwargs = detail["expectation_config"]["kwargs"]
        kwargs |= {key: safe(kwargs[key]) for key in ("value_set",) if key in kwargs}
        detail |= {"result": safe(detail["result"]), "exception_info": safe(detail["exception_info"])}
    return copied


@cache
def _renderers() -> tuple[Any, Any]:
    engine.load()
    column_types_expectation()
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    class PageView(DefaultJinjaPageView):
        def _validate_document(self, document: Any) -> None:
            """Accept the document as a mapping, with a section taken out."""

    return ValidationResultsPageRenderer(), PageView(custom_views_directory=str(_TEMPLATES))


@cache
def _index_environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)


def _pct(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _label(window: Window) -> str:
    last = (window.end - dt.timedelta(microseconds=1)).date()
    if window == Window.day(window.start):
        return f"{window.start:%Y-%m-%d}"
    if window.start.time() == window.end.time() == dt.time(0):
        return f"{window.start:%Y-%m-%d} to {last}"
    return f"{window.start:%Y-%m-%dT%H:%M} to {window.end:%Y-%m-%dT%H:%M}"


def _file_name(text: str) -> str:
    """A file name that is safe on every file system and different for different texts."""
    safe = re.sub(r"[^A-Za-z0-9._~-]", "_", text).lstrip(".")
    return safe if safe == text else f"{safe[:80]}~{uuid.uuid5(uuid.NAMESPACE_OID, text).hex[:8]}"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StoreUnavailable(
            f"cannot write Data Docs: {error.strerror}", where=str(path), remedy="check space and rights of the folder"
        ) from error
