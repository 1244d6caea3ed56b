"""The local stack: PostgreSQL, the vendor sandbox and Airflow's parts as processes of this machine, on loopback only.

Imports no Airflow: it starts ``airflow`` commands and speaks to the REST API.
"""
