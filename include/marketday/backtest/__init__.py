"""Backtest: the daily run's own steps, replayed on past mornings as they were known then, and scored.

::

    plan      what is replayed: definition, origins, options; the key of an origin's result
    sources   what was known on a past morning, and what was sold after it
    replay    one origin, in a process of its own, in a throw-away warehouse
    child     what runs in that process
    pool      several origins at a time; one that fails loses no other
    scores    measures per origin, system, rows and segment
    report    one HTML page, charts included
    tracking  the same in MLflow
"""
