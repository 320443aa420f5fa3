"""The service runner: the step is carried out as a job of the step service."""

from marketday.calls import Call, Result
from marketday.client import MAX_WAIT, StepServiceClient
from marketday.settings import Settings
from marketday.telemetry import tracing


def client(settings: Settings) -> StepServiceClient:
    """Return a client of the service that the settings name, with its token; requests carry this process's trace."""
    token = settings.service_token.get_secret_value()
    return StepServiceClient(settings.service_url, token=token, headers=tracing.headers)


def run(call: Call, settings: Settings) -> Result:
    """Carry out ``call`` as a job and wait for its end; an interrupt cancels the job.

    Raises:
        MarketdayError: what the step raised, or why the service could not carry it out.

    """
    with client(settings) as service:
        job = service.submit(call)
        try:
            while not job.final:
                job = service.status(job.job_id, wait=MAX_WAIT)
        except KeyboardInterrupt:
            service.cancel(job.job_id)
            raise
        return service.result(job.job_id)
