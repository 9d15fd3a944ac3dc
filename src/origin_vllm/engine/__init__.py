"""The engine classes: vLLM's own, by inheritance."""
