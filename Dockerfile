# One image for Airflow, the step service and Dask workers; the command decides which.
#   docker build --build-arg DEBIAN=trixie -t marketday .        (or bookworm)
#   docker run marketday marketday migrate                      (once per release, before the services start)
#   docker run marketday marketday serve --host 0.0.0.0
#   docker run marketday airflow scheduler
#   docker run marketday dask worker tcp://scheduler:8786
ARG DEBIAN=trixie

FROM docker.io/library/debian:${DEBIAN}-slim AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
RUN python3 -m venv /opt/marketday
# Behind a proxy with certificates of its own: mount them and name the file here (pip and uv read these variables).
ARG PIP_CERT
ARG SSL_CERT_FILE
ENV VIRTUAL_ENV=/opt/marketday PATH=/opt/marketday/bin:$PATH
# The dependencies are a layer of their own: a change of our code does not install them again.
COPY requirements.lock ./
RUN awk '/^[^ #]/ {keep = /^uv==/} keep' requirements.lock > uv.lock \
 && pip install --quiet --no-cache-dir --require-hashes --no-deps --requirement uv.lock \
 && uv pip install --quiet --no-cache --compile-bytecode --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY operators operators
COPY include/marketday include/marketday
RUN uv pip install --quiet --no-cache --compile-bytecode --no-deps --no-build-isolation .

FROM docker.io/library/debian:${DEBIAN}-slim
# libgomp1 is LightGBM's; ca-certificates and tzdata are what a retailer's time zone and TLS need.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 libgomp1 ca-certificates tzdata \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --home-dir /var/lib/marketday marketday
COPY --from=build /opt/marketday /opt/marketday
WORKDIR /opt/marketday/project
COPY dags dags
COPY plugins plugins
COPY include/retailers include/retailers
ENV PATH=/opt/marketday/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MARKETDAY_HOME=/var/lib/marketday \
    MARKETDAY_RETAILERS=/opt/marketday/project/include/retailers \
    AIRFLOW_HOME=/var/lib/marketday/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/marketday/project/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/marketday/project/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False
USER 10001
CMD ["marketday", "--help"]
