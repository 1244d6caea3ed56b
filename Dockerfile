# One image for every service of docker-compose.yaml.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 \
    FLEETLAKE_HOME=/opt/fleetlake/state \
    AIRFLOW_HOME=/opt/fleetlake/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/fleetlake/app/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/fleetlake/app/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False

RUN useradd --uid 50000 --create-home fleetlake \
    && mkdir -p /opt/fleetlake/app /opt/fleetlake/state /opt/fleetlake/airflow /opt/fleetlake/auth /data/lake /data/raw /sandbox \
    && chown -R fleetlake /opt/fleetlake /data /sandbox

WORKDIR /opt/fleetlake/app

# Libraries first: they change less often than the code. Bytecode halves every start.
COPY requirements.txt ./
RUN pip install --no-cache-dir uv \
    && grep -v '^-e ' requirements.txt > /tmp/pins.txt \
    && uv pip install --system --no-cache --no-deps --compile-bytecode -r /tmp/pins.txt

COPY --chown=fleetlake . .
RUN uv pip install --system --no-cache --no-deps -e . && python -m compileall -q plugins

USER fleetlake
CMD ["fleetlake", "--help"]
