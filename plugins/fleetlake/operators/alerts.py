"""Telling people what no machine can mend: through the log and any Airflow notifier."""

from __future__ import annotations

import importlib
import json
import logging
import os
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from fleetlake.errors import ConfigError, FleetlakeError, Retriable

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

NOTIFIER = "FLEETLAKE_ALERT_NOTIFIER"
"""Environment variable: class path of an Airflow notifier, and after a space its arguments as a JSON object. Texts among them
are templates; besides Airflow's own words they may use ``{{ subject }}``, ``{{ message }}`` and ``{{ account }}``."""


def tell(context: Context, *, account: str, subject: str, message: str) -> None:
    """Tell people: an error in the task's log, and the notifier that is configured. ``ops.alert`` has it already.

    Args:
        context: the task's; the notifier's templates may use it.
        account: which account it is about.
        subject: one line.
        message: what, where, and what to do.

    Raises:
        ConfigError: the configured notifier cannot be made.
        Retriable: it could not send.
    """
    log.error("%s\n%s", subject, message)
    notifier = configured()
    if notifier is None:
        return
    words: dict[str, Any] = {**context, "account": account, "subject": subject, "message": message}
    try:
        notifier(words)
    except FleetlakeError:
        raise
    except Exception as error:
        # Only the kind of the error: its words may quote an address with a secret in it.
        raise Retriable(
            f"the notifier could not send an alert: {type(error).__name__}",
            where=NOTIFIER,
            remedy="mend the notifier or its connection: the alert is kept in ops.alert, and sent by the next try",
        ) from None


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
