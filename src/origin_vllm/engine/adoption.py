"""Turning an object that vLLM made into one of ours, in place.

vLLM creates engines, collectors and outputs in the middle of its own methods, with no hook for
another class. Our subclasses of them add behaviour and no layout, so Python lets an instance change
its class: that costs a tenth of a microsecond, where a copy would cost several for every token,
and no method of vLLM has to be repeated to get at the object.
"""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger(__name__)

_told: set[type] = set()


def become(instance: Any, cls: type, **attributes: Any) -> bool:
    """Make ``instance`` an instance of ``cls``, a subclass of its class.

    Args:
        instance: An object vLLM made for this one purpose; nobody else relies on its exact class.
        cls: Ours.
        **attributes: Set on it.

    Returns:
        Whether it worked. A vLLM that gives these objects ``__slots__`` would refuse; then the
        object stays vLLM's own, which is said once, and the request goes on without our extras.
    """
    try:
        instance.__class__ = cls
        instance.__dict__.update(attributes)
    except (TypeError, AttributeError) as error:
        stays_vllms(instance, cls, error)
        return False
    return True


def stays_vllms(instance: Any, cls: type, error: Exception) -> None:
    """Say, once for each class, that an object could not become ours."""
    if cls not in _told:
        _told.add(cls)
        logger.error(
            "%s can't become %s (%s): going on as plain vLLM. This vLLM release is newer than this "
            "one of Origin vLLM knows; see docs/seam.md.",
            type(instance).__name__,
            cls.__name__,
            error,
        )
