"""Every error Origin vLLM raises, in one tree.

::

    OriginError                       anything of ours
      ConfigError (ValueError)        a setting, flag or file is wrong
      MissingVLLMError (ImportError)  vLLM is not installed or does not import
      UnsupportedVLLMError            vLLM is there, but outside the tested window
      BaseClassError (ImportError)    a base class asked for by name does not exist
      ExtensionError                  an extension can't be loaded or registered
      RequestError (ValueError)       a request's argument is wrong: the client's fault

Each carries two texts: ``str(error)`` is for the person who made the mistake (one sentence and the
way out), ``error.detail`` is for the log and never leaves the process.
"""

from __future__ import annotations


class OriginError(Exception):
    """Base of all our errors.

    Args:
        message: One sentence for the user; no paths of ours, no secrets, no traces.
        remedy: The command or change that mends it, shown on a line of its own.
        detail: What only the log should hold.
    """

    #: Exit status of a command that ends with this error (see ``docs/cli.md``).
    exit_code = 1

    def __init__(
        self, message: str, *, remedy: str | None = None, detail: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.message}\n  try: {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries; the default would lose the keyword arguments.
        state = {"remedy": self.remedy, "detail": self.detail}
        return (type(self), (self.message,), state)


class ConfigError(OriginError, ValueError):
    """A setting, flag or configuration file is wrong."""

    exit_code = 2


class MissingVLLMError(OriginError, ImportError):
    """vLLM is not installed, or is there and does not import."""

    exit_code = 3


class UnsupportedVLLMError(OriginError):
    """The installed vLLM is outside the window this release was tested with."""

    exit_code = 3


class BaseClassError(OriginError, ImportError):
    """A base class asked for by module and name does not exist."""


class ExtensionError(OriginError):
    """An extension can't be loaded or registered."""

    exit_code = 2


class RequestError(OriginError, ValueError):
    """A request's argument is wrong; the sentence names the argument and what is allowed."""
