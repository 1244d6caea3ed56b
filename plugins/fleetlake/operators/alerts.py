"""Telling people what no machine can mend: through any Airflow notifier, and always into the log and ``ops.alert``."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from fleetlake.errors import ConfigError, FleetlakeError
from fleetlake.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Context

NOTIFIER = "FLEETLAKE_ALERT_NOTIFIER"
"""Environment variable: class path of an Airflow notifier, and after a space its arguments as a JSON object. Texts among them
are templates; besides Airflow's own words they may use ``{{ subject }}``, ``{{ message }}`` and ``{{ account }}``."""


class FleetNotifier(BaseNotifier):
    """Tells people: an error in the task's log, a row of ``ops.alert``, and the notifier that is configured.

    Args:
        account: which account it is about.
        subject: one line.
        message: what, where, and what to do.
    """

    # The words are data, not templates: vendors' texts are among them.
    template_fields = ()

    def __init__(self, *, account: str, subject: str, message: str) -> None:
        super().__init__()
        self.account = account
        self.subject = subject
        self.message = message

    def notify(self, context: Context) -> None:
        """Tell.

        Raises:
            ConfigError: the configured notifier cannot be made; log and ``ops.alert`` have the words nevertheless.
        """
        self.log.error("%s\n%s", self.subject, self.message)
        self._keep(context)
        if notifier := configured():
            words = {"account": self.account, "subject": self.subject, "message": self.message}
            notifier({**context, **words})

    def _keep(self, context: Mapping[str, Any]) -> None:
        from fleetlake.hooks import settings_with_warehouse
        from fleetlake.warehouse import Warehouse

        url = settings_with_warehouse(Settings.from_env()).require_warehouse()
        with Warehouse(url) as warehouse, warehouse.session() as connection:
            connection.execute(
                "INSERT INTO ops.alert (account, subject, message, dag_id, run_id) VALUES (%s, %s, %s, %s, %s)",
                [self.account, self.subject, self.message, context["ti"].dag_id, context["ti"].run_id],
            )
            connection.commit()


def configured() -> BaseNotifier | None:
    """The notifier of ``FLEETLAKE_ALERT_NOTIFIER``; ``None`` when there is none.

    Raises:
        ConfigError: the variable is no class path with a JSON object, or the class does not take its arguments.
    """
    path, _, arguments = os.environ.get(NOTIFIER, "").strip().partition(" ")
    if not path:
        return None
    module, _, name = path.rpartition(".")
    remedy = 'write the path of a notifier class, and its arguments as JSON: package.module.Class {"text": "{{ message }}"}'
    try:
        values = json.loads(arguments) if arguments.strip() else {}
        made = getattr(importlib.import_module(module), name)(**values)
    except FleetlakeError:
        raise
    except Exception as error:
        # Only the kind of the error: its words may quote an argument, and that may be a secret.
        raise ConfigError(f"no notifier can be made: {type(error).__name__}", where=NOTIFIER, remedy=remedy) from None
    if not isinstance(made, BaseNotifier):
        raise ConfigError(f"{path} is no notifier", where=NOTIFIER, remedy=remedy)
    return made
