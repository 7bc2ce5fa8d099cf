"""The engine: queue, training and sampling. It knows no HTTP, and only it imports torch."""
