"""What the platform tells about itself; no step and no domain code imports it. docs/telemetry.md is its reference.

- :mod:`.logs`: logfmt on stdout, for every process
- :mod:`.metrics`: what `/metrics` shows
- :mod:`.tracing`: spans, where OpenTelemetry is configured
- :mod:`.errors`: reports to Sentry, where it is configured
- :mod:`.requests`, :mod:`.jobs`, :mod:`.dask_tasks`: these four, applied to what happens
- :mod:`.secrets`: what none of them may show
"""
