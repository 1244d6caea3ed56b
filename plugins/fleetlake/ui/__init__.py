"""What fleetlake adds to Airflow's pages."""
