"""Where in a page's body the rows of a table stand: the byte range of the vendor's own object.

A vendor's ``split`` hands out rows; some are slices of the body, others get fields in front, other names, or parts of several
objects. Which object a row came from is found by asking ``split`` itself: every object of the body is given a field of its
own that no vendor has, the marked body is split like the original, and the mark that a row carries names its object. So
nothing has to be known here about any vendor's shapes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_END = re.compile(rb"\s*}")
_MARK = "fleetlake_mark_"

Split = Callable[[bytes], "Sequence[msgspec.Raw]"]


@dataclass(frozen=True)
class Place:
    """Where a row stands in a body.

    Attributes:
        start, end: byte range of the vendor's object; ``body[start:end]`` is its JSON.
        elsewhere: ranges of equal objects of the same body that make no row of their own: they are merged into this one.
        added: fields of the row that the object does not have: ``split`` made them from what was asked, or from around it.
        around: of a row with such fields, byte range of all objects it may be made from; ``None`` when the object is the body.
    """

    start: int
    end: int
    elsewhere: tuple[tuple[int, int], ...] = ()
    added: tuple[str, ...] = ()
    around: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Object:
    start: int
    end: int
    parent: int | None  # number of the object around it


class Places:
    """The rows of one body and where they stand.

    Args:
        body: the page's body, JSON.
        split: cuts a body into rows, as the vendor's room does for the table.
    """

    def __init__(self, body: bytes, split: Split) -> None:
        self._body = body
        self.rows = split(body)
        self._objects = _objects(body)
        marked = split(_marked(body, self._objects))
        same = len(marked) == len(self.rows)
        self._numbers = [_mark_of(row) if same else None for row in marked]

    def of(self, index: int) -> Place | None:
        """Place of a row; ``None`` when it is no object, or not made from a single one."""
        number = self._numbers[index] if index < len(self._numbers) else None
        if number is None:
            return None
        found = self._objects[number]
        text = self._body[found.start : found.end]
        taken = set(self._numbers)
        copies = [
            item
            for other, item in enumerate(self._objects)
            if other not in taken and item.end - item.start == len(text) and self._body[item.start : item.end] == text
        ]
        own = set(_names(text))
        added = tuple(name for name in _names(bytes(self.rows[index])) if name not in own)
        parents = [self._objects[item.parent] for item in (found, *copies) if item.parent is not None]
        around = (min(item.start for item in parents), max(item.end for item in parents)) if added and parents else None
        return Place(found.start, found.end, tuple((item.start, item.end) for item in copies), added, around)


def _objects(body: bytes) -> list[_Object]:
    """All JSON objects of a body, in the order in which they begin."""
    found: list[_Object] = []
    open_objects: list[int] = []
    for token in _TOKEN.finditer(body):
        sign = body[token.start()]
        if sign == 0x7B:  # {
            found.append(_Object(token.start(), -1, open_objects[-1] if open_objects else None))
            open_objects.append(len(found) - 1)
        elif sign == 0x7D and open_objects:  # }
            number = open_objects.pop()
            found[number] = _Object(found[number].start, token.end(), found[number].parent)
    return found


def _marked(body: bytes, objects: Sequence[_Object]) -> bytes:
    parts, last = [], 0
    for number, item in enumerate(objects):
        inner = item.start + 1
        comma = "" if _END.match(body, inner) else ","
        parts += [body[last:inner], f'"{_MARK}{number}":0{comma}'.encode()]
        last = inner
    return b"".join([*parts, body[last:]])


def _mark_of(row: msgspec.Raw) -> int | None:
    for name in _names(bytes(row)):
        # A room may put something in front of a name that it does not know.
        _, mark, number = name.partition(_MARK)
        if mark and number.isdecimal():
            return int(number)
    return None


def _names(text: bytes) -> list[str]:
    """Names of a JSON object's fields; none when it is no object."""
    try:
        return list(msgspec.json.decode(text, type=dict[str, msgspec.Raw]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
