"""Cleaning: split a delivered table into accepted rows and refused rows, by the rules of the catalogue.

::

    marketday.checks   every rule: its code, what breaks it, what to do, how severe it is
    known              what rows are compared with, from the warehouse
    reading            delivered cells → typed ones
    rules              when a row breaks a rule
    judging            accepted and refused rows, duplicates, what is kept with a warning

Rows of one key that agree in every column are collapsed to the first. So rows in = accepted + refused + collapsed.
"""

from marketday.cleaning.judging import Checked, check, total_notices
from marketday.cleaning.known import READS, Known, known_on
from marketday.cleaning.reading import as_raw

__all__ = ["READS", "Checked", "Known", "as_raw", "check", "known_on", "total_notices"]
