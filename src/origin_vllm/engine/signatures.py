"""Overrides that take whatever the installed vLLM takes, and say so."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def like(
    base: Callable[..., Any], optional: Sequence[str] = (), rest: str = "", **extra: Any
) -> Callable[[F], F]:
    """Show ``base``'s signature instead of the override's own.

    vLLM adds parameters in most releases. Our overrides pass ``*args, **kwargs`` on, so they accept
    them all; this keeps ``help()``, editors and ``inspect.signature`` truthful.

    Args:
        base: vLLM's method.
        optional: Parameters that vLLM requires and we don't; their default is None.
        rest: Name of the keyword arguments that we take beyond ``base``'s and ``extra``.
        **extra: Keyword-only parameters of ours, with their defaults.
    """

    def decorate(override: F) -> F:
        signature = inspect.signature(base)
        parameters = [
            parameter.replace(default=None) if parameter.name in optional else parameter
            for parameter in signature.parameters.values()
        ]
        end = len(parameters)
        if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
            end -= 1
        parameters[end:end] = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in extra.items()
            if name not in signature.parameters
        ]
        if rest:
            parameters.append(inspect.Parameter(rest, inspect.Parameter.VAR_KEYWORD))
        override.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return override

    return decorate
