"""What extensions are told: small records, made once and shared by all who listen.

The records are frozen; what they point to (``params``, ``output``) is the engine's own and must be
left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

# ``Any`` stands for vLLM's own types (named in the docstrings): nothing here may import vLLM.


@dataclass(frozen=True, slots=True)
class RequestAdded:
    """A request was accepted by the engine.

    Args:
        request_id: The id under which the other events of this request come.
        prompt: The prompt's text, None when the request came as token ids only.
        prompt_token_ids: The prompt's token ids, None when it isn't tokenised yet.
        params: Its ``SamplingParams`` or ``PoolingParams``.
        lora_name: The LoRA adapter asked for, if any.
        time: When it arrived, in seconds since the epoch.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: Sequence[int] | None
    params: Any
    lora_name: str | None
    time: float


@dataclass(frozen=True, slots=True)
class OutputEvent:
    """One output on its way to the client: a chunk of a stream, or the whole answer.

    Args:
        request_id: The request's id.
        output: The ``RequestOutput`` or ``PoolingRequestOutput`` as the client gets it.
    """

    request_id: str
    output: Any


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """A request was answered to its end.

    Args:
        request_id: The request's id.
        output: The last output (of a stream in ``DELTA`` kind: its last chunk).
        duration_s: Seconds from arrival to the end.
        first_output_s: Seconds from arrival to the first output, None when not measured.
    """

    request_id: str
    output: Any
    duration_s: float
    first_output_s: float | None = None


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request ended without its full answer.

    Args:
        request_id: The request's id.
        error: What went wrong, None when it was aborted without an error.
        aborted: Whether the client left or asked for the end.
    """

    request_id: str
    error: BaseException | None
    aborted: bool


#: What a plain callable gets.
RequestEvent: TypeAlias = RequestAdded | OutputEvent | RequestFinished | RequestFailed
