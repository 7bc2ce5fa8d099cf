"""The parts of ``python -m benchmarks.client``: the stub server's and the measuring processes'."""
