"""Finding a vendor's room by name: what makes adding a vendor a matter of adding files."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

from fleetlake.errors import ConfigError
from fleetlake.pipeline.batch import Split
from fleetlake.reading import Derivation, Feed


@dataclass(frozen=True, kw_only=True)
class VendorRoom:
    """The pure part of a vendor's room: what to ask and how to read the answers, no connection.

    Attributes:
        feeds: feeds by name (``vendors/<vendor>/source.py``: ``FEEDS``).
        split: splits a page body into rows (``vendors/<vendor>/decode.py``).
        derivations: derived columns by table (``vendors/<vendor>/mapping.py``: ``DERIVATIONS``).
        identities: columns of the entity table by which people may name a vehicle (``mapping.IDENTITIES``).
    """

    feeds: Mapping[str, Feed]
    split: Split
    derivations: Mapping[str, Derivation]
    identities: Sequence[str]


def vendor_room(vendor: str) -> VendorRoom:
    """The room of ``vendor``.

    Raises:
        ConfigError: there is no such vendor.
    """
    source, decode, mapping = (_part(vendor, part) for part in ("source", "decode", "mapping"))
    return VendorRoom(feeds=source.FEEDS, split=decode.split, derivations=mapping.DERIVATIONS, identities=mapping.IDENTITIES)


def _part(vendor: str, part: str) -> ModuleType:
    name = f"fleetlake.vendors.{vendor}.{part}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            raise ConfigError(
                f"there is no vendor {vendor!r}", where="include/accounts.yaml", remedy="use the name of a vendor's room"
            ) from None
        raise
