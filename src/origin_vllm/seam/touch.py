"""What an entry of :mod:`origin_vllm.seam.contract` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "",
    "class",
    "function",
    "coroutine",
    "async generator",
    "classmethod",
    "staticmethod",
    "value",
]


@dataclass(frozen=True)
class Touch:
    """One name of vLLM that we import, subclass, call or replace.

    Attributes:
        module: Dotted module it is imported from.
        name: Name in it, or ``Class.attribute``.
        why: What we need it for.
        kind: What it must be. An ``async def`` that became a plain one breaks an override whose
            signature still fits.
        positional: Parameters that must come first, in this order: we pass them by position.
        params: Parameters that must exist by these names.
        complete: We call it with ``positional`` and ``params`` only, so every other parameter must
            have a default.
        attributes: What its instances must have (set in ``__init__`` or in the class body).
        uses: Names and strings that must occur in its body. This is how we notice that a function
            stopped working the way we rely on while its signature stayed.
        only_called: Names that may occur in its body only as what is being called.
        in_place: We change the class of its instances. So they must keep a ``__dict__``, and
            vLLM must make exactly this class, no subclass but those in ``subclasses``.
        subclasses: Subclasses in vLLM that our code knows how to treat.
        also: Modules where it lives in other releases. Our code must find it there too, or not
            import it at all.
        optional: We do without it where it is missing.
    """

    module: str
    name: str
    why: str
    kind: Kind = ""
    positional: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    complete: bool = False
    attributes: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    only_called: tuple[str, ...] = ()
    in_place: bool = False
    subclasses: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    optional: bool = False

    @property
    def id(self) -> str:
        """``module:name``."""
        return f"{self.module}:{self.name}"


@dataclass(frozen=True)
class Importer:
    """A module of vLLM that takes the engine class by name the moment it is imported.

    Replacing the name reaches it only if it is imported afterwards.

    Attributes:
        module: Dotted name.
        why: Why that is all right.
        late: It must be imported afterwards, so nothing else may import it at module level.
    """

    module: str
    why: str
    late: bool = False
