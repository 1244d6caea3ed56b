"""Which Airflow commands talk to: the one in the environment, else the local stack's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fleetlake.stack.airflow_api import AirflowApi
from fleetlake.stack.local import LocalStack

if TYPE_CHECKING:
    from fleetlake.settings import Settings


def connected(settings: Settings) -> AirflowApi:
    """A client of the Airflow at ``FLEETLAKE_AIRFLOW_URL``, or of the local stack.

    Raises:
        ConfigError: an address without credentials.
    """
    return AirflowApi.from_env(os.environ) or LocalStack(settings).api()
