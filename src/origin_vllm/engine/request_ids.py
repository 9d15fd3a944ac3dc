"""Request ids: vLLM wants strings, many scripts count with integers."""

from __future__ import annotations

from origin_vllm.errors import RequestError


def request_id_string(request_id: str | int) -> str:
    """The request id as vLLM wants it.

    Raises:
        RequestError: It is neither a string nor an integer.
    """
    if isinstance(request_id, str):
        return request_id
    if isinstance(request_id, int) and not isinstance(request_id, bool):
        return str(request_id)
    raise RequestError(
        f"request_id: {type(request_id).__name__} is not allowed; pass a string or an integer."
    )
