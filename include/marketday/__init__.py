"""Marketday: a retailer's daily demand forecast, from delivery to published order proposals.

The library holds everything about retail forecasting and knows nothing of Airflow. A morning flows one way::

    deliveries → warehouse (raw) → cleaning → warehouse (facts) → features → models → calibration → orders → publishing
"""

import os
from importlib.metadata import version

# LightGBM's threads wait for each other hundreds of times a second. By default they spin meanwhile, and where other
# processes want the cores, each spins away the time that the other needs: training took a hundred times as long.
# OpenMP reads this once, when the first library that uses it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = version("marketday")
