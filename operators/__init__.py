"""The Airflow side of Marketday: operators, hook, trigger, sensor and the pipeline compiler."""
