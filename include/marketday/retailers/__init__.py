"""A retailer's definition: one YAML file, checked so that a mistake names its file, its line and what is allowed."""

from marketday.retailers.definition import Calibration, Checks, Gates, Maintenance, Orders, Pin, Retailer, Training
from marketday.retailers.reading import is_defined, load, names

__all__ = [
    "Calibration",
    "Checks",
    "Gates",
    "Maintenance",
    "Orders",
    "Pin",
    "Retailer",
    "Training",
    "is_defined",
    "load",
    "names",
]
