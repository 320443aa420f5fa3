"""The retailer of the benchmark, for processes that are measured and load no more than they need."""

import datetime as dt

DAY = dt.date(2016, 4, 25)
"""Business day of the history: the first after the origin of M5's validation period."""
RETAILER = "tiled"
DEFINITION = "title: Tiled\ntime_zone: Europe/Berlin\nhorizon: 28\n"
