"""The service runner: the step is carried out as a job of the step service."""

from marketday.calls import Call, Result
from marketday.client import MAX_WAIT, StepServiceClient
from marketday.settings import Settings


def run(call: Call, settings: Settings) -> Result:
    """Carry out ``call`` as a job and wait for its end; an interrupt cancels the job.

    Raises:
        MarketdayError: what the step raised, or why the service could not carry it out.

    """
    with StepServiceClient(settings.service_url) as client:
        job = client.submit(call)
        try:
            while not job.final:
                job = client.status(job.job_id, wait=MAX_WAIT)
        except KeyboardInterrupt:
            client.cancel(job.job_id)
            raise
        return client.result(job.job_id)
