"""The base model that ships with the embedded server: ``tiny-chat``."""

from pathlib import Path

MODEL_DIR = Path(__file__).parent
