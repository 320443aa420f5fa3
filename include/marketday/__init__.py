"""Marketday: a retailer's daily demand forecast, from delivery to published order proposals.

The library holds everything about retail forecasting and knows nothing of Airflow. A morning flows one way::

    deliveries → warehouse (raw) → cleaning → warehouse (facts) → features → models → calibration → orders → publishing
"""

from importlib.metadata import version

__version__ = version("marketday")
