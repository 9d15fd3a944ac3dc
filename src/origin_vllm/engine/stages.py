"""The stages of a request's life, as interfaces.

A request goes one way::

    render -> identify -> look up -> (join | generate) -> collect -> answer -> store

Rendering (prompt to token ids, defaults into parameters), generating and collecting are vLLM's own.
The others are the four callables here. Each knows the value it gets and the value it gives, and
nothing of its neighbours; :class:`EnhancedAsyncLLM` calls them in this order for every rendered
request (``EnhancedAsyncLLM._add_enhanced_request``). A stage that is None is not there: with
:data:`NO_STAGES` a request takes vLLM's own way and pays one attribute look-up.

A stage that raises is left out for this request (logged, counted in ``Stages.errors``): the request
is then generated as by plain vLLM.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two requests the same.

    Attributes:
        key: 32 bytes; equal exactly when the model would see the same request.
        tenant: Whose request it is; answers never cross tenants. Part of the key as well.
    """

    key: bytes
    tenant: str | None = None


class Answer(Protocol):
    """A stored answer, or one that is being generated for an identical request."""

    async def give(self, request: Any, prompt: str | None, collector: Any) -> None:
        """Answer ``request`` into ``collector``, as the engine would have.

        Args:
            request: vLLM's ``EngineCoreRequest``.
            prompt: The prompt's text, if known.
            collector: The request's ``EnhancedRequestOutputCollector``. What becomes known about
                the answer (``cached``, ``tier``, ``age``, ``coalesced``) goes into its record.
        """


class Identify(Protocol):
    """Stage: what request is this?"""

    def __call__(self, request: Any) -> Identity | None:
        """The identity of an ``EngineCoreRequest``; None if it must not be reused."""


class LookUp(Protocol):
    """Stage: is there an answer already?"""

    async def __call__(self, identity: Identity) -> Answer | None:
        """A stored answer; None when there is none. Must return within its own deadline."""


class Join(Protocol):
    """Stage: is an identical request being answered right now?"""

    def __call__(self, identity: Identity) -> Answer | None:
        """The generation in flight to share; None makes the caller the one who generates."""


class Store(Protocol):
    """Stage: keep what was generated."""

    def __call__(self, identity: Identity, collector: Any) -> None:
        """Watch a request that is about to be generated. Must not block: write behind."""


@dataclass(slots=True)
class Stages:
    """The stages of one engine.

    Attributes:
        errors: How often each stage failed, by its name.
    """

    identify: Identify | None = None
    look_up: LookUp | None = None
    join: Join | None = None
    store: Store | None = None
    errors: Counter[str] = field(default_factory=Counter)


#: Plain vLLM.
NO_STAGES = Stages()
