"""Imported where only the probe steps are wanted: takes the morning's steps off the list."""

from marketday.steps import contract

contract._MODULES = ()
