"""The way to the step service."""

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from marketday import settings
from marketday.client import StepServiceClient


class StepServiceHook(BaseHook):
    """Finds the step service: the Airflow connection if there is one, else ``MARKETDAY_SERVICE_URL``."""

    conn_name_attr = "conn_id"
    default_conn_name = "marketday_service"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    @property
    def url(self) -> str:
        """Address of the step service, looked up each time: a connection may change while a DAG is running."""
        try:
            connection = self.get_connection(self.conn_id)
        except AirflowNotFoundException:
            return settings.load().service_url
        if "://" in (connection.host or ""):
            return f"{connection.host}:{connection.port}" if connection.port else str(connection.host)
        # Connections of type HTTP name their scheme in the field "schema", connection URIs at their start.
        scheme = connection.schema or ("https" if connection.conn_type == "https" else "http")
        return f"{scheme}://{connection.host}:{connection.port or (443 if scheme == 'https' else 80)}"

    def get_conn(self) -> StepServiceClient:
        """Return a client of the step service."""
        return StepServiceClient(self.url)
