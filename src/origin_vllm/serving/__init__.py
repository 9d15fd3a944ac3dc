"""The server: vLLM's own app around our engine."""
