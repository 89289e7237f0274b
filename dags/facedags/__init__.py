"""What the Dag files are written with: one factory that turns a command of the platform into an Airflow task."""
