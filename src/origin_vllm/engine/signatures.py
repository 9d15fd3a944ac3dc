"""Overrides that take whatever the installed vLLM takes, and say so."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def like(base: Callable[..., Any], **extra: Any) -> Callable[[F], F]:
    """Show ``base``'s signature, plus keyword-only parameters ``extra`` (name to default).

    vLLM adds parameters in most releases. Our overrides pass ``*args, **kwargs`` on, so they accept
    them all; this keeps ``help()``, editors and ``inspect.signature`` truthful.
    """

    def decorate(override: F) -> F:
        signature = inspect.signature(base)
        parameters = list(signature.parameters.values())
        end = len(parameters)
        if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
            end -= 1
        keyword_only = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in extra.items()
            if name not in signature.parameters
        ]
        parameters[end:end] = keyword_only
        override.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return override

    return decorate
