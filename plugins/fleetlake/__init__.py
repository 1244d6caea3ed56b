"""fleetlake: brings a fleet's data home, from telematics vendors into a Parquet lake and a PostgreSQL warehouse."""

__version__ = "0.1.0"
