"""The reading of a table: one digest of everything that decides what its pages' rows become.

Rows are set aside, and batches held, by a reading. When the reading of today is another one, they are worth another try; as
long as it is the same, trying again cannot end otherwise.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fleetlake import canonical, contracts, equations
from fleetlake.errors import ConfigError
from fleetlake.pipeline import batch, decode

if TYPE_CHECKING:
    from fleetlake.contracts import Contract


def reading_of(contract: Contract, account: str) -> str:
    """Digest of the table's contract, the account's own mapping file, and the code that cuts, types and judges.

    Args:
        contract: the table's; its file stands below an include folder, where the mapping files are.
        account: whose mapping file counts: ``include/<vendor>/<account>.yaml``, else ``default.yaml``.

    Raises:
        ConfigError: the contract was not read from a file.
    """
    if contract.path is None:
        raise ConfigError(f"{contract.table}: its contract was not read from a file", remedy="use load_contracts")
    include = contract.path.parents[2]
    mapping = include / contract.vendor / f"{account}.yaml"
    if not mapping.is_file():
        mapping = mapping.with_name("default.yaml")
    whole = hashlib.sha256(_code(contract.vendor).encode())
    for path in (contract.path, mapping):
        whole.update(path.read_bytes() if path.is_file() else b"")
        whole.update(b"\0")
    return whole.hexdigest()[:16]


@cache
def _code(vendor: str) -> str:
    """Digest of the sources: the vendor's room, whose modules lean on each other, and what types and judges rows."""
    whole = hashlib.sha256()
    files = [Path(str(module.__file__)) for module in (canonical, contracts, equations, batch, decode)]
    for name in (f"fleetlake.vendors.{vendor}", "fleetlake.quality"):
        found = importlib.util.find_spec(name)
        for folder in (found.submodule_search_locations or ()) if found else ():
            files += sorted(Path(folder).glob("*.py"))
    for path in files:
        whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()
