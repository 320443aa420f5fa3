"""Runners: what carries a step out. Each has ``run(call, settings) -> Result``: the same call gives the same result.

- :mod:`marketday.runners.local`: in this process; for development, and inside every job of the step service
- :mod:`marketday.runners.service`: a job of the step service
- :mod:`marketday.runners.pod`: in this process, as the local runner; how it ends is reported for Airflow to read
"""
