# The environment in a container. Results, figures and data go to the folder that is mounted at /work.
#
#   docker build -t smith .                                             for a CPU
#   docker build -t smith --build-arg REQUIREMENTS=requirements.txt .   for an NVIDIA GPU: docker run --gpus all ...
#   docker run --rm --volume "$PWD/work:/work" smith run fig14 --scale smoke
FROM python:3.13-slim
ARG REQUIREMENTS=requirements-cpu.txt
COPY . /smith
RUN python -m pip install --no-cache-dir -r "/smith/$REQUIREMENTS" -r /smith/requirements-prepare.txt pandas \
    && python -m pip install --no-cache-dir --no-deps --editable /smith
ENV TFDS_DATA_DIR=/work/data XDG_CACHE_HOME=/work/cache
WORKDIR /work
ENTRYPOINT ["smith"]
