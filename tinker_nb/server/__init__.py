"""The embedded server: one base model, many LoRA adapters, two dialects on one port."""
