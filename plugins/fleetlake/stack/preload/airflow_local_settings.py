"""Imported by Airflow's scheduler when it starts, because this folder is on its ``PYTHONPATH`` (see ``local.py``).

LocalExecutor forks every task from the scheduler. What is imported here is there in each of them at once: Great
Expectations alone takes 4 s of processor time, in every task that checks a batch. Nothing is connected or started here, so
nothing can be shared by accident.
"""

import gc

import deltalake
import fleetlake.pipeline
import pandas
import pyarrow.dataset
import sqlalchemy.dialects.postgresql
from fleetlake.quality import engine

engine.load()

gc.freeze()  # else the first collection in each task would copy all of it

__all__ = ["deltalake", "fleetlake", "pandas", "pyarrow", "sqlalchemy"]
