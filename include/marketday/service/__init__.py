"""The step service: a job API after OGC API - Processes, and the way in for deliveries.

The process is a few actors under one supervisor, and nothing else in it knows of signals, restarts or shutdown::

    server ──► supervisor ──► http (requests)   heartbeat (leases)   slots (jobs)

One call's way through it::

    access ──► app, job_routes ──► slots ──► running (one job) ──► process ──► child (the step, in its own process)
                                     └──────────┴──► store (what is known of every job, in a migrated database)

Any number of replicas share one store, each with a home of its own. None keeps a queue: a call that finds no free slot
is refused, and Airflow tries again. A replica that dies loses its jobs to the others when their leases are over.
"""
