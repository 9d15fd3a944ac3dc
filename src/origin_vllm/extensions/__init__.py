"""Extensions: guests that see requests and outputs (contract row A4; ``docs/extensions.md``)."""

from __future__ import annotations

from origin_vllm.extensions.events import (
    OutputEvent,
    RequestAdded,
    RequestEvent,
    RequestFailed,
    RequestFinished,
)
from origin_vllm.extensions.manager import (
    ExtensionManager,
    get_manager,
    load_extensions,
    reset_manager,
)
from origin_vllm.extensions.supervisor import (
    Outcome,
    Supervisor,
    SupervisorLimits,
    SupervisorStats,
)

__all__ = [
    "ExtensionManager",
    "Outcome",
    "OutputEvent",
    "RequestAdded",
    "RequestEvent",
    "RequestFailed",
    "RequestFinished",
    "Supervisor",
    "SupervisorLimits",
    "SupervisorStats",
    "get_manager",
    "load_extensions",
    "reset_manager",
]
