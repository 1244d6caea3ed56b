"""Reading a frozen settings object from the named fields of a connection or a file."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from fleetlake.errors import ConfigError

T = TypeVar("T")
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def read_fields(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build ``kind`` from ``values``.

    Args:
        kind: a dataclass whose fields are text, numbers or booleans, or one of them or ``None``.
        values: by field name; ``None`` and empty text stand for the default. Numbers and booleans may be text.
        where: what the values belong to, for messages. Values are never shown: they may be secrets.

    Raises:
        ConfigError: an unknown name (with a near match), a missing or unreadable value.
    """
    known = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    chosen: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known settings: {', '.join(known)}"
            raise ConfigError(f"unknown setting {name!r}", where=where, remedy=hint)
        if value is not None and value != "":
            chosen[name] = _convert(name, value, hints[name], where)
    for name, field in known.items():
        if name not in chosen and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"setting {name!r} is missing", where=where, remedy=f"set {name}")
    return kind(**chosen)


def _convert(name: str, value: Any, hint: Any, where: str) -> Any:
    kinds = [kind for kind in (str, bool, int, float) if kind is hint or kind in getattr(hint, "__args__", ())]
    kind = kinds[0] if kinds else str
    try:
        if kind is bool:
            return value if isinstance(value, bool) else _BOOLEANS[str(value).strip().lower()]
        if kind is int and isinstance(value, float) and not value.is_integer():
            raise ValueError
        if kind is not str and isinstance(value, bool):
            raise ValueError
        return kind(value)
    except (KeyError, ValueError, TypeError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")
    raise ConfigError(f"setting {name!r} cannot be read", where=where, remedy=f"write {wanted}")
