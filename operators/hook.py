"""The way to the step service."""

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from marketday import settings
from marketday.client import StepServiceClient
from marketday.telemetry import tracing


class StepServiceHook(BaseHook):
    """Finds the step service and its token: an Airflow connection if there is one, else the environment.

    The connection's password is the token. Without a connection they are ``MARKETDAY_SERVICE_URL`` and
    ``MARKETDAY_SERVICE_TOKEN``. A ``url`` that is given is used instead of either, with the same token.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "marketday_service"

    def __init__(self, conn_id: str = default_conn_name, *, url: str = "") -> None:
        super().__init__()
        self.conn_id = conn_id
        self.given_url = url

    def get_conn(self) -> StepServiceClient:
        """Return a client of the step service; looked up each time, since a connection may change meanwhile."""
        try:
            return self._client(self.get_connection(self.conn_id))
        except AirflowNotFoundException:
            return self._client(None)

    async def aget_conn(self) -> StepServiceClient:
        """Do what :meth:`get_conn` does, without holding up the triggerer."""
        try:
            return self._client(await self.aget_connection(self.conn_id))
        except AirflowNotFoundException:
            return self._client(None)

    def _client(self, connection: Connection | None) -> StepServiceClient:
        if connection is None:
            default = settings.load()
            url, token = default.service_url, default.service_token.get_secret_value()
        else:
            url, token = _url(connection), connection.password or ""
        return StepServiceClient(self.given_url or url, token=token, headers=tracing.headers)


def _url(connection: Connection) -> str:
    """Return the address that a connection names, in any of the usual ways; one may hold nothing but the token."""
    if not connection.host:
        return settings.load().service_url
    if "://" in connection.host:
        return f"{connection.host}:{connection.port}" if connection.port else str(connection.host)
    # Connections of type HTTP name their scheme in the field "schema", connection URIs at their start.
    scheme = connection.schema or ("https" if connection.conn_type == "https" else "http")
    return f"{scheme}://{connection.host}:{connection.port or (443 if scheme == 'https' else 80)}"
