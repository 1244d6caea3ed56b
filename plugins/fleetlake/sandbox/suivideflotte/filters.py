"""The six parameters that most lists understand (section 2.1), and the list's envelope (2.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from fleetlake.sandbox.suivideflotte.answers import ApiError
from fleetlake.sandbox.suivideflotte.assumptions import SuiviDeFlotteAssumptions

Row = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a list is asked for.

    Attributes:
        fields: these, in this order.
        equals, like: text by field.
        sort: fields, with true for descending.
        page: from 1.
        per_page: rows of a page.
    """

    fields: Sequence[str]
    equals: Mapping[str, str]
    like: Mapping[str, str]
    sort: Sequence[tuple[str, bool]]
    page: int
    per_page: int

    @classmethod
    def read(cls, query: QueryParams, known: Sequence[str], assumptions: SuiviDeFlotteAssumptions) -> Asked:
        """Read the six parameters.

        Args:
            query: of the request; of a repeated parameter the last counts.
            known: fields of the resource.
            assumptions: page sizes.

        Raises:
            ApiError: 422 with a map of all that is wrong.
        """
        errors: dict[str, list[str]] = {}

        def refuse(name: str, text: str) -> None:
            errors.setdefault(name, []).append(text)

        def checked(name: str, names: Sequence[str]) -> Sequence[str]:
            for field in names:
                if field not in known:
                    refuse(name, f"The field {field} does not exist.")
            if len(set(names)) < len(names):
                refuse(name, f"The {name} field has a duplicate value.")
            return names

        def pairs(name: str) -> dict[str, str]:
            found = [item.split(":") for item in _items(query.get(name))]
            if any(len(item) != 2 for item in found):
                refuse(name, f"The {name} format is invalid.")
                return {}
            checked(name, [field for field, _ in found])
            return dict(found)

        def positive(name: str, default: int, maximum: int | None) -> int:
            text = query.get(name)
            if text is None:
                return default
            if not re.fullmatch(r"[0-9]{1,9}", text):
                refuse(name, f"The {name} must be an integer.")
            elif int(text) < 1:
                refuse(name, f"The {name} must be at least 1.")
            elif maximum is not None and int(text) > maximum:
                refuse(name, f"The {name} may not be greater than {maximum}.")
            else:
                return int(text)
            return default

        fields = checked("fields", _items(query.get("fields")))
        signed = _items(query.get("sort"))
        checked("sort", [item.removeprefix("-") for item in signed])
        asked = cls(
            fields or known,
            pairs("equals"),
            pairs("like"),
            [(item.removeprefix("-"), item.startswith("-")) for item in signed],
            positive("page", 1, None),
            positive("perpage", assumptions.perpage_default, assumptions.perpage_max),
        )
        if errors:
            raise ApiError(422, errors)
        return asked

    def select(self, rows: Sequence[Row]) -> list[Row]:
        """Rows that fit, in order; without a wish by id."""
        found = [
            row
            for row in rows
            if all(_same(row[field], text) for field, text in self.equals.items())
            and all(text.lower() in _text(row[field]).lower() for field, text in self.like.items())
        ]
        for field, descending in reversed(self.sort or [("id", False)]):
            found.sort(key=_order(field), reverse=descending)
        return found

    def cut(self, row: Row) -> Row:
        """The row with the wanted fields."""
        return {field: row[field] for field in self.fields}

    def envelope(self, rows: Sequence[Row], path: str, assumptions: SuiviDeFlotteAssumptions) -> Any:
        """The page of ``rows``, which are all rows of the list.

        The links hold the page alone, without the other parameters: whoever follows them loses his filters.
        An empty list has ``last_page`` 0.

        Raises:
            ApiError: 422, the page is past the end (a switch).
        """
        first, total = (self.page - 1) * self.per_page, len(rows)
        page = [self.cut(row) for row in rows[first : first + self.per_page]]
        if not page and self.page > 1 and assumptions.page_past_end == "422":
            raise ApiError(422, {"page": ["The selected page is invalid."]})
        if assumptions.envelope == "array":
            return page
        last = -(-total // self.per_page)

        def link(number: int) -> str:
            return f"{path}?page={number}"

        body: dict[str, Any] = {
            "current_page": self.page,
            "data": page,
            "from": first + 1 if page else None,
            "last_page": last,
            "next_page_url": link(self.page + 1) if self.page < last else None,
            "path": path,
            "per_page": self.per_page,
            "prev_page_url": link(self.page - 1) if self.page > 1 else None,
            "to": first + len(page) if page else None,
            "total": total,
        }
        if assumptions.envelope == "paginator55":
            body |= {"first_page_url": link(1), "last_page_url": link(max(last, 1)), "last_page": max(last, 1)}
        return body


def _items(text: str | None) -> list[str]:
    return text.split(",") if text else []


def _same(value: Any, text: str) -> bool:
    if isinstance(value, bool):
        return text == str(int(value))
    if isinstance(value, int | float):
        try:
            return float(text) == value
        except ValueError:
            return False
    return bool(value == text)


def _text(value: Any) -> str:
    return "" if value is None else str(int(value) if isinstance(value, bool) else value)


def _order(field: str) -> Callable[[Row], tuple[bool, Any]]:
    """Key to sort by; nulls first."""

    def key(row: Row) -> tuple[bool, Any]:
        value = row[field]
        if isinstance(value, dict):
            value = str(value)
        return (value is not None, 0 if value is None else value)

    return key
