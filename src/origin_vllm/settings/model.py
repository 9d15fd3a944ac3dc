"""The settings tree itself: what can be set, its type, its default and its help text.

Only settings that do something stand here. A field's docstring is its help everywhere: in
``origin-vllm serve --help``, in the JSON schema and in ``docs/configuration.md``.

Constraints go into the annotation (``PositiveInt``, ``Annotated[str, ...]``), never into field
validators: the loader checks each value on its own, so that a mistake is told with the file,
variable or flag it came from, even when a later source overrides it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
)


@dataclass(frozen=True)
class Allowed:
    """What a custom type accepts, in words (an annotation's marker; pydantic ignores it).

    Args:
        one: What one value must be: "a path".
        many: The same for the items of a list: "paths".
    """

    one: str
    many: str


# "~/vllm" in a file reaches no shell, so the home directory is put in here.
ExpandedPath = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]  # noqa: PTH111

ImportPath = Annotated[
    str,
    StringConstraints(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?$"),
    Allowed(
        "an import path such as my_package.hooks:audit",
        "import paths such as my_package.hooks:audit",
    ),
]

CoreList = Annotated[
    str,
    StringConstraints(pattern=r"^(auto|nobind|\d+([-,]\d+)*(\|\d+([-,]\d+)*)*)$"),
    Allowed("auto, nobind or cores such as 0-3 or 0|1", "core lists"),
]


class Section(BaseModel):
    """One table of the tree: read-only once built, and nothing in it that is not known."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class InheritanceSettings(Section):
    """Which vLLM our classes inherit from."""

    base_vllm_path: ExpandedPath | None = None
    """A vLLM checkout to use as the base; none: the installed package."""

    fallback_mode: bool = True
    """Where a base class of vLLM's is missing, `safe_inherit` puts a stand-in in its place, loudly,
    instead of failing."""


class CacheConfig(Section):
    """Reuse of answers that are a function of their request. This release stores none yet: an
    engine refuses other values than the defaults."""

    max_bytes: PositiveInt = 256 * 1024**2
    """Most memory the stored answers of one process may take, in bytes."""

    ttl_s: PositiveFloat | None = None
    """Seconds after which a stored answer is no longer used; none: until it has to make room."""


class NLPConfig(Section):
    """Prompt understanding; it has no settings yet."""


class SimilarityConfig(Section):
    """Similarity search; it has no settings yet."""


class HandlerConfig(Section):
    """What the engine does with a request beyond generating.

    ``HandlerConfig()`` means the product's defaults,
    ``HandlerConfig(cache=None, nlp=None, similarity=None)`` plain vLLM.
    """

    cache: CacheConfig | None = CacheConfig()
    """Reuse of answers (this release stores none yet); none: every request is generated."""

    nlp: NLPConfig | None = None
    """Prompt understanding; none: off, the only value this release knows."""

    similarity: SimilarityConfig | None = None
    """Similarity search; none: off, the only value this release knows."""


class ExtensionSettings(Section):
    """Which extensions are loaded, and how patient we are with them."""

    load: tuple[ImportPath, ...] = ()
    """Extensions to load, each named as `package.module:object`, besides those that installed
    packages announce as entry points."""

    disabled: tuple[str, ...] = ()
    """Names of entry points that are not loaded."""

    timeout_s: PositiveFloat = 5.0
    """Seconds one call of an extension may take before it counts as a failure."""

    queue_size: PositiveInt = 1024
    """Events that may wait for one extension; while they do, new ones are dropped and counted."""

    max_failures: PositiveInt = 5
    """Failures in a row after which an extension is no longer called for a while."""

    cooldown_s: PositiveFloat = 30.0
    """Seconds an extension that failed too often is left alone before it is tried again."""


class CPUSettings(Section):
    """How vLLM's CPU build is set up by `origin-vllm serve`; without effect on a GPU."""

    threads: PositiveInt | None = None
    """OpenMP threads of each engine process; none: chosen from the cores this process may use. On a
    machine that does other work too, 1 is often fastest: waiting threads spin."""

    kv_cache_gib: PositiveFloat | None = None
    """Memory of each engine's key-value cache in GiB, fractions allowed; none: chosen from the free
    memory."""

    omp_bind: CoreList | None = None
    """Cores the OpenMP threads are bound to: `auto` lets vLLM choose (it gives every engine on the
    machine the same cores, so use it for one engine alone), `nobind` binds nothing, `0-3` names
    cores, and `0|1` gives each tensor-parallel rank its own; none: chosen."""

    chunked_prefill: bool | None = None
    """Whether long prompts are read in chunks between other requests' tokens; none: chosen, which
    is off. With it on, vLLM's CPU build dies from a request that has a seed and a temperature above
    0."""


class ServerSettings(Section):
    """The HTTP server."""

    banner: bool = True
    """Print how to talk to the server once it is ready."""


class SeamSettings(Section):
    """Where our code touches vLLM's insides."""

    allow_untested_vllm: bool = False
    """Start although the vLLM found is outside the versions this release was tested with."""


class OriginSettings(Section):
    """Every setting of Origin vLLM."""

    inheritance: InheritanceSettings = InheritanceSettings()
    """Which vLLM our classes inherit from."""

    handler: HandlerConfig = HandlerConfig()
    """What the engine does with a request beyond generating."""

    extensions: ExtensionSettings = ExtensionSettings()
    """Which extensions are loaded, and how patient we are with them."""

    cpu: CPUSettings = CPUSettings()
    """How vLLM's CPU build is set up; without effect on a GPU."""

    server: ServerSettings = ServerSettings()
    """The HTTP server."""

    seam: SeamSettings = SeamSettings()
    """Where our code touches vLLM's insides."""
