"""The maintenance Airflow DAG of every retailer: a new definition in include/retailers makes its DAG appear."""

from marketday import settings
from operators import definitions
from operators.pipeline import maintenance_pipeline

for retailer in definitions.read(settings.load()).good:
    maintenance_pipeline(retailer)
