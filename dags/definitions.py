"""Shows in Airflow which retailers' definitions are wrong.

This file makes no DAG. Airflow sets aside every DAG of a file that has an import error, so the error is raised here,
where there is none to lose; the retailers that are right run on.
"""

from marketday import settings
from marketday.errors import RetailerError
from operators import definitions

if wrong := definitions.read(settings.load()).wrong:
    raise RetailerError("\n".join(str(error) for error in wrong))
