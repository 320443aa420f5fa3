"""The step service: a job API after OGC API - Processes, and the way in for deliveries.

One request's way through it::

    app (HTTP) → executor (slots, child processes) → child (the step, in its own process)
                        ↘ jobs (what is known of every job, in a database)

One service owns one job store. It keeps no queue: a call that finds no free slot is refused, and Airflow tries again.
"""
