"""Quarantine: what becomes of the rows that a check refused. None is ever lost or edited.

::

    states      open, admitted, superseded or discarded: every refused row is in exactly one state
    retrying    which open rows are judged again this morning
    judging     what today's checks say of them
    decisions   what people decide: try again, or leave out for good
    explaining  one row: its rule, its references, its key elsewhere, what to do
"""
