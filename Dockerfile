# One image for every process of ours; the command names the process: `api`, `gateway`, `order-worker` ...
FROM python:3.11-slim-bookworm AS built
RUN apt-get update && apt-get install --yes --no-install-recommends g++ make && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir uv
WORKDIR /hundi
# The dependencies first: QuickFIX compiles for minutes, and only when the lock file changes.
COPY pyproject.toml uv.lock README.md ./
RUN UV_PYTHON_DOWNLOADS=never uv sync --frozen --no-dev --no-install-project
COPY . .
RUN UV_PYTHON_DOWNLOADS=never uv sync --frozen --no-dev

FROM python:3.11-slim-bookworm
WORKDIR /hundi
COPY --from=built /hundi /hundi
RUN useradd --system --uid 10001 hundi && install -d -o hundi /var/lib/hundi /var/lib/hundi-risk
USER hundi
ENV PATH=/hundi/.venv/bin:$PATH HUNDI_DATA_DIR=/var/lib/hundi PYTHONUNBUFFERED=1
ENTRYPOINT ["hundi"]
