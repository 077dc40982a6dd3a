# Timbre with its environment: docker build -t timbre . ; data/ and exp/ are mounted (conf/cluster/README.md).
FROM python:3.11-slim-bookworm
RUN apt-get update \
  && apt-get install -y --no-install-recommends procps util-linux git \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /timbre
COPY pyproject.toml path.sh README.md LICENSE ./
COPY steps steps
COPY local local
COPY conf conf
COPY tests tests
COPY run.sh ./
RUN bash -c '. ./path.sh' && chmod -R a+rX /timbre
ENV PATH=/timbre/.venv/bin:$PATH VIRTUAL_ENV=/timbre/.venv LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1
CMD ["./run.sh", "--help"]
