# The image of docker-compose.yml's workers, migration and dashboard. It holds the clone, installed as the Makefile
# installs it, so that a study file of yours in the clone is there too.
FROM python:3.12-slim

RUN useradd --create-home caviar && install --directory --owner=caviar /data
WORKDIR /caviar

# First what pip reads: installing takes minutes (PyTorch is large), and a change of the code must not cost them again.
COPY pyproject.toml README.md LICENSE ./
COPY src/caviar/__init__.py src/caviar/
RUN python -m pip install --no-cache-dir --editable '.[dashboard,report]'
COPY --chown=caviar . .

USER caviar
ENTRYPOINT ["caviar"]
