"""The outputs of :class:`EnhancedAsyncLLM`: vLLM's own, plus ``metadata`` and ``text``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from origin_vllm.seam.engine import PoolingRequestOutput, RequestOutput


@dataclass(slots=True)
class RequestRecord:
    """What we know of one request beside its output; shared by all its outputs.

    Attributes:
        request_id: The id the caller gave.
        enhancements: Facts that stages and processors add: ``cached``, ``tier``, ``age``,
            ``coalesced``, ``nlp_result``, ``similar``.
    """

    request_id: str
    enhancements: dict[str, Any] = field(default_factory=dict)


_DEFAULTS: dict[str, Any] = {
    "cached": False,
    "tier": None,
    "age": None,
    "coalesced": False,
    "nlp_result": None,
    "similar": None,
}


class _WithMetadata:
    """Adds ``metadata``; the record is attached when the output passes the collector."""

    # No layout of its own, and behind vLLM's class in the bases: else Python refuses the change
    # of class (adoption.py).
    __slots__ = ()

    _record: RequestRecord | None = None
    metrics: Any = None

    @property
    def metadata(self) -> dict[str, Any]:
        """What the extras found for this request, as a fresh dict.

        Keys: ``cached`` (bool: the answer was reused), ``tier`` (name of the tier it came from, or
        None), ``age`` (seconds since it was stored, or None), ``coalesced`` (bool: shared a
        generation with an identical request in flight), ``nlp_result`` and ``similar`` (None unless
        switched on), ``timings`` (seconds: ``queued``, ``ttft``, ``total``; only those known, empty
        when the engine runs with ``disable_log_stats``).
        """
        record = self._record
        found = record.enhancements if record is not None else {}
        return {**_DEFAULTS, **found, "timings": _timings(self.metrics)}


class EnhancedRequestOutput(RequestOutput, _WithMetadata):
    """A :class:`vllm.RequestOutput` with ``metadata`` and ``text``."""

    @property
    def text(self) -> str:
        """Text of the first sequence, in the request's output kind (DELTA: the new text only)."""
        return self.outputs[0].text if self.outputs else ""


class EnhancedPoolingRequestOutput(PoolingRequestOutput, _WithMetadata):
    """A :class:`vllm.PoolingRequestOutput` with ``metadata``."""


def _timings(stats: Any) -> dict[str, float]:
    """Seconds since arrival, from vLLM's own request statistics."""
    if stats is None:
        return {}
    timings: dict[str, float] = {}
    queued, scheduled = getattr(stats, "queued_ts", 0.0), getattr(stats, "scheduled_ts", 0.0)
    if queued and scheduled:
        timings["queued"] = scheduled - queued
    if ttft := getattr(stats, "first_token_latency", 0.0):
        timings["ttft"] = ttft
        # Both are the engine's monotonic clock; the arrival time is not, so the total is the
        # measured first-token latency plus what came after it.
        first, last = getattr(stats, "first_token_ts", 0.0), getattr(stats, "last_token_ts", 0.0)
        if first and last:
            timings["total"] = ttft + (last - first)
    return timings
