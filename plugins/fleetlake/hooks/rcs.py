"""Remoto Cloud Services (RCS)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetlake.errors import ConfigError
from fleetlake.hooks.base import FleetHook, with_base_url

if TYPE_CHECKING:
    from fleetlake.reading import Lane
    from fleetlake.vendors.rcs.source import RcsSource


class RcsHook(FleetHook):
    """An RCS account: base URL and client certificate.

    Args:
        rcs_conn_id: connection of type ``rcs``. Its ``extra`` may hold every setting of ``RcsConfig``; the certificate is
            given as files (``cert``, ``key``) or as text (``certificate_pem``, ``private_key_pem``).
    """

    conn_name_attr = "rcs_conn_id"
    default_conn_name = "rcs_default"
    conn_type = "rcs"
    hook_name = "Remoto Cloud Services (RCS)"

    def __init__(self, rcs_conn_id: str = default_conn_name) -> None:
        super().__init__(rcs_conn_id)

    def get_source(self, lane: Lane) -> RcsSource:
        """See ``FleetHook.get_source``."""
        from fleetlake.vendors.rcs.client import RcsClient
        from fleetlake.vendors.rcs.config import RcsConfig
        from fleetlake.vendors.rcs.source import RcsSource

        with _certificate_files(with_base_url(self.fields), where := f"connection {self.conn_id}") as values:
            config = RcsConfig.from_mapping(values, where)
            gate = self.gate(config.account_key, config.rate_per_s, config.burst)
            return RcsSource(RcsClient(config, gate=gate, lane=lane))  # reads the certificate now: its files may go


@contextmanager
def _certificate_files(fields: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """The fields, with a certificate given as text written to private files for the duration of the block."""
    values = dict(fields)
    texts = {"cert": values.pop("certificate_pem", None), "key": values.pop("private_key_pem", None)}
    if not any(texts.values()):
        yield values
        return
    for name, text in texts.items():
        if text and name in values:
            raise ConfigError(f"{name} is given as a file and as text", where=where, remedy="clear one of the two")
    with tempfile.TemporaryDirectory(prefix="fleetlake-") as folder:  # readable by us alone
        for name, text in texts.items():
            if text:
                path = Path(folder, f"{name}.pem")
                path.touch(mode=0o600)
                # A form of one line, or JSON written by hand, may hold the line breaks as \n.
                path.write_text(str(text).replace("\\n", "\n").strip() + "\n")
                values[name] = str(path)
        yield values
