"""The step service and Airflow on this machine, for `make run`, `make up` and the end-to-end tests."""

from marketday.embedded.lifecycle import Tell, addresses, credentials, require, running, started
from marketday.embedded.platform import Peak, Platform

__all__ = ["Peak", "Platform", "Tell", "addresses", "credentials", "require", "running", "started"]
