"""What a server's ``/metrics`` says."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Metrics:
    """One reading of ``/metrics``."""

    def __init__(self, url: str) -> None:
        answer = httpx.get(f"{url}/metrics", timeout=10)
        answer.raise_for_status()
        self.families = {
            family.name: family for family in text_string_to_metric_families(answer.text)
        }

    def total(self, sample: str, **labels: str) -> float:
        """Sum of all samples of this name that carry these labels.

        Raises:
            KeyError: There is none.
        """
        values = [
            one.value
            for family in self.families.values()
            for one in family.samples
            if one.name == sample and labels.items() <= one.labels.items()
        ]
        if not values:
            raise KeyError(f"no sample {sample} {labels}")
        return sum(values)

    def in_flight(self) -> float:
        """Requests that the engine runs or that wait for it."""
        return self.total("vllm:num_requests_running") + self.total("vllm:num_requests_waiting")
