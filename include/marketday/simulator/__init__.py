"""A simulated grocer that acts as the customer: six stores, sixty products, stock that runs out.

::

    world       what never changes: stores, products, suppliers, how much each series sells on an ordinary day
    conditions  what a day brings: weather, holidays, prices, promotions
    demand      true demand, stock and the sales that stock allowed, day after day from the world's first day
    grocer      the delivery of a morning, made of the above
    dirt        faults that can be put into a delivery

Everything random is drawn from a generator derived from (seed, day, subject), so that any day can be asked for in any
order and always gives the same answer.
"""

from marketday.simulator.demand import true_demand
from marketday.simulator.dirt import FAULTS
from marketday.simulator.grocer import Grocer
from marketday.simulator.world import FIRST_DAY, World

__all__ = ["FAULTS", "FIRST_DAY", "Grocer", "World", "true_demand"]
