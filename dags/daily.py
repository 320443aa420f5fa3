"""The daily Airflow DAG of every retailer: a new definition in include/retailers makes its DAG appear."""

from marketday import settings
from operators import definitions
from operators.pipeline import daily_pipeline

for retailer in definitions.read(settings.load()).good:
    daily_pipeline(retailer)
