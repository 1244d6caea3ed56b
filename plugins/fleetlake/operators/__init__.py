"""Airflow operators, and the wiring that DAG files use."""

from fleetlake.operators.loads import CertifyOperator, LoadOperator, PlanOperator
from fleetlake.operators.model import ModelOperator, model_dag
from fleetlake.operators.rcs import RcsHealthReportOperator
from fleetlake.operators.wiring import accounts_of, assets, day_dag

__all__ = [
    "CertifyOperator",
    "LoadOperator",
    "ModelOperator",
    "PlanOperator",
    "RcsHealthReportOperator",
    "accounts_of",
    "assets",
    "day_dag",
    "model_dag",
]
