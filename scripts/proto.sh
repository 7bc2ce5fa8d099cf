#!/bin/sh
# Generate tinker_nb/wire/proto/*_pb2.py and .pyi from the schema, in an environment of its own.
#
# grpcio-tools 1.62.3, not the newest: newer generators write a check of the protobuf runtime's
# version into the code, which then refuses any older runtime. Without the check one generated file
# runs on every protobuf from 4.25 on, such as the one that a hosted notebook has loaded already.
set -eu
cd "$(dirname "$0")/.."
venv=build/proto-venv
if [ ! -e "$venv/.installed" ]; then
    # This version has no build for Python 3.13 and newer; it needs the pkg_resources of setuptools < 81.
    "$(PYTHON="${PYTHON:-python3.11}" scripts/find-python.sh)" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet "grpcio-tools==1.62.3" "setuptools<81"
    touch "$venv/.installed"
fi
"$venv/bin/python" -m grpc_tools.protoc -I. --python_out=. --pyi_out=. tinker_nb/wire/proto/tinker_public.proto
