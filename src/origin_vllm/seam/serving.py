"""vLLM's server: its flags, its launch paths, its app, around our engine.

``vllm serve`` starts in several ways (one API server, many, data-parallel supervisors, headless
nodes, gRPC), and their code changes with every release. What stayed the same in all of them is
that the function which builds the engine imports ``AsyncLLM`` from ``vllm.v1.engine.async_llm`` by
name, when it is called. That one name is what we replace, in server processes only; vLLM does all
the rest. No launch path is copied, none can be forgotten.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.abc
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

from origin_vllm.errors import ConfigError, MissingVLLMError, OriginError
from origin_vllm.seam import require_vllm
from origin_vllm.seam.contract import ENGINE_MODULE
from origin_vllm.settings.sources import did_you_mean


def parse_serve_args(
    argv: Sequence[str],
    *,
    default_model: str,
    epilog: str,
    our_flags: Sequence[tuple[str, str | None, str]],
) -> argparse.Namespace:
    """Parse the flags of ``vllm serve``, with vLLM's own parser and checks.

    Args:
        argv: Everything after ``serve``, without our own flags.
        default_model: What ``args.model`` is when the user named none.
        epilog: Shown at the end of the help.
        our_flags: Flag, metavar and help text of our flags, shown in the help.

    Raises:
        ConfigError: A flag or its value is wrong.
        SystemExit: 0 after ``--help``, as argparse does.
    """
    require_vllm()
    serve = importlib.import_module("vllm.entrypoints.cli.serve")
    parsers = importlib.import_module("vllm.utils.argparse_utils")
    subcommand = serve.ServeSubcommand()
    parser = parsers.FlexibleArgumentParser(prog="origin-vllm")
    subparser = subcommand.subparser_init(parser.add_subparsers(dest="subparser"))
    subparser.usage = "origin-vllm serve [model_tag] [options]"
    subparser.description = (
        "Serve a model over HTTP: every endpoint and flag of `vllm serve`, on Origin vLLM's "
        "engine. Without a model, the demo model that ships with the package."
    )
    subparser.epilog = (
        f"{epilog}\n\n{(subparser.epilog or '').replace('vllm serve', 'origin-vllm serve')}"
    )
    group = subparser.add_argument_group(
        "Origin", "Settings of Origin vLLM; also in a file or the environment."
    )
    for flag, metavar, text in our_flags:
        group.add_argument(
            flag, metavar=metavar, help=text.replace("%", "%%"), default=argparse.SUPPRESS
        )
    subparser.set_defaults(model=default_model)

    def refuse(message: str) -> NoReturn:
        # argparse would print the usage, a line of its own making, and exit.
        unknown = message.removeprefix("unrecognized arguments: ")
        near = None
        if unknown != message:
            name = unknown.split()[0].partition("=")[0].replace("_", "-")
            near = did_you_mean(name, subparser._option_string_actions)
        lines = [line.strip() for line in message.strip().splitlines()]
        if "validation error" in lines[0]:  # pydantic: the first line only counts them
            lines[0] = ": ".join(lines[:2])
        raise ConfigError(
            lines[0] + (f"; did you mean {near}?" if near else ""),
            remedy="origin-vllm serve --help=all   (lists every flag)",
            detail=message,
        )

    parser.error = subparser.error = refuse
    try:
        args = parser.parse_args(["serve", *argv])
        subcommand.validate(args)
    except OriginError:
        raise
    except Exception as error:  # a file that a flag names, flags that exclude each other
        refuse(str(error).removeprefix("Error: ") or type(error).__name__)
    return args


def run_serve(args: argparse.Namespace) -> None:
    """Start vLLM's server with the parsed flags; returns when it has stopped.

    Our engine class is used in this process and in every API server process that it starts.
    """
    serve = importlib.import_module("vllm.entrypoints.cli.serve")
    logger = importlib.import_module("vllm.logger")
    configure = getattr(logger, "configure_logging_from_args", None)
    if configure is not None:
        configure(args)
    os.environ["ORIGIN_VLLM_SERVE"] = "1"
    # With an allow list vLLM loads only the plugins it names; ours is how the other processes
    # learn which engine to use.
    allowed = os.environ.get("VLLM_PLUGINS")
    if allowed is not None and "origin_vllm" not in allowed.split(","):
        os.environ["VLLM_PLUGINS"] = f"{allowed},origin_vllm" if allowed else "origin_vllm"
    substitute_engine()
    serve.ServeSubcommand.cmd(args)


def substitute_engine() -> None:
    """Make the server's builder find ``EnhancedAsyncLLM`` where it looks for ``AsyncLLM``.

    Engine cores and workers run this too (they load the same plugin) and never import the module,
    so nothing is imported on their behalf: the replacement happens when the module is.
    """
    module = sys.modules.get(ENGINE_MODULE)
    if module is not None:
        _substitute(module)
    elif not any(isinstance(finder, _EngineFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _EngineFinder())


def _substitute(module: ModuleType) -> None:
    # Imports the module's AsyncLLM as its base, so this must come before the replacement.
    from origin_vllm.serving.engine import EnhancedAsyncLLM

    module.AsyncLLM = EnhancedAsyncLLM  # type: ignore[attr-defined]
    # Our messages go where vLLM's go, in its format: one log, not two.
    theirs, ours = logging.getLogger("vllm"), logging.getLogger("origin_vllm")
    ours.handlers, ours.propagate = theirs.handlers, False
    ours.setLevel(theirs.level)


class _EngineFinder(importlib.abc.MetaPathFinder):
    """Finds one module, as everybody else would, and asks for a call after it ran."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != ENGINE_MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            raise MissingVLLMError(f"{ENGINE_MODULE} does not exist in this vLLM.")
        spec.loader = _EngineLoader(spec.loader)
        return spec


class _EngineLoader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _substitute(module)
