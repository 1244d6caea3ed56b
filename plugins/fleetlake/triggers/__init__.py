"""Airflow triggers: waiting for a vendor without holding a worker."""
