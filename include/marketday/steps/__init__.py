"""Steps: pure functions from snapshots and parameters to tables, registered by name.

A step's function takes a :class:`Context` (the call, the retailer, read access to snapshots) and returns
:class:`Outputs`. It opens no connection, writes nothing, reads no clock. :func:`marketday.steps.execution.execute`
gives it its snapshots and commits what it returns.
"""

from marketday.steps.contract import Context, Outputs, Step, get, names, step

__all__ = ["Context", "Outputs", "Step", "get", "names", "step"]
