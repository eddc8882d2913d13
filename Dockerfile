# One image for every process of ours; the command names the process: `api`, `gateway`, `order-worker` ...
FROM python:3.11-slim-bookworm AS built
RUN apt-get update && apt-get install --yes --no-install-recommends g++ make && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir uv
WORKDIR /hundi
ENV UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1
# The dependencies first: QuickFIX compiles for minutes, and only when the lock file changes.
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev --no-install-project
COPY . .
# Compiled now, for the process that runs it cannot write here.
RUN uv sync --frozen --no-dev && .venv/bin/python -m compileall -q -x '/\.venv/' .

FROM python:3.11-slim-bookworm
WORKDIR /hundi
COPY --from=built /hundi /hundi
RUN useradd --system --uid 10001 hundi && \
    install -d -o hundi -m 0700 /var/lib/hundi /var/lib/hundi-risk /var/lib/hundi-trades
USER hundi
ENV PATH=/hundi/.venv/bin:$PATH HUNDI_DATA_DIR=/var/lib/hundi PYTHONUNBUFFERED=1
ENTRYPOINT ["hundi"]
