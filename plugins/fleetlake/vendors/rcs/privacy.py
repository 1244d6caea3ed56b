"""Personal data of app users: masked on the way from raw to the tables, unless the account keeps it.

The policy stands in ``include/rcs/<account>.yaml``, or ``default.yaml``: not in the connection, because tables are made
from raw pages by processes that have no connection. Masks need no key and hide the value for good; what a mask leaves
visible tells whether there is a value, and helps a person who knows it to recognise it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from fleetlake.errors import ConfigError
from fleetlake.settings import Settings

MASK = "***"
Mask = Callable[[str], str]
_CHOICES = ("mask", "keep")


def is_masked(account: str | None, include: Path | None = None) -> bool:
    """Whether the account's personal data is masked; so it is where no file says otherwise.

    Raises:
        ConfigError: the account's file is wrong; names the key and a near match.
    """
    folder = (include or Settings.from_env().include) / "rcs"
    for path in (folder / f"{account}.yaml", folder / "default.yaml"):
        if path.is_file():
            return _read(path, path.stat().st_mtime_ns) == "mask"
    return True


def mask_row(raw: msgspec.Raw, masks: Mapping[str, Mask], known: Collection[str]) -> msgspec.Raw:
    """A row with its personal fields masked, lists item by item. Of a row that is no object nothing is left.

    Args:
        raw: the vendor's JSON.
        masks: how to mask, by field.
        known: fields of the contract. Nobody knows whom the others are about, so only their names stay.
    """
    row = msgspec.json.decode(raw)
    if not isinstance(row, dict):
        return msgspec.Raw(msgspec.json.encode(MASK))  # it may be anybody's name
    masked = {
        name: _masked(value, masks.get(name)) if name in known else None if value is None else MASK
        for name, value in row.items()
    }
    return msgspec.Raw(msgspec.json.encode(masked))


def mask_name(text: str) -> str:
    """The first letter."""
    return text[:1] + MASK if text else text


def mask_phone(text: str) -> str:
    """The last two characters of a number that is long enough to hide in."""
    return MASK + text[-2:] if len(text) > 6 else MASK


def mask_email(text: str) -> str:
    """The domain."""
    _, at, domain = text.rpartition("@")
    return MASK + at + domain if at else MASK


def _masked(value: Any, mask: Mask | None) -> Any:
    if mask is None or value is None:
        return value
    if isinstance(value, list):
        return [_masked(item, mask) for item in value]
    return mask(value) if isinstance(value, str) else mask(str(value))


@cache
def _read(path: Path, _mtime: int) -> str:
    try:
        data = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=str(path)) from None
    if not isinstance(data, Mapping):
        raise ConfigError("a mapping is expected", where=str(path), remedy="write `personal_data: mask`")
    for key in data:
        if key != "personal_data":
            near = difflib.get_close_matches(str(key), ["personal_data"], 1)
            remedy = f"did you mean {near[0]!r}?" if near else "known is personal_data"
            raise ConfigError(f"unknown key {key!r}", where=str(path), remedy=remedy)
    choice = data.get("personal_data", "mask")
    if choice not in _CHOICES:
        raise ConfigError(f"personal_data is {choice!r}", where=str(path), remedy=f"one of {', '.join(_CHOICES)}")
    return str(choice)
