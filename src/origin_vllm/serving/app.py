"""How ``origin-vllm serve`` starts: settings, device, flags, then vLLM's own server."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import os
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from origin_vllm import DEMO_MODEL
from origin_vllm.errors import ConfigError, OriginError
from origin_vllm.seam import require_vllm
from origin_vllm.serving.banner import announce
from origin_vllm.serving.signals import leave_on_signals
from origin_vllm.settings import flag_specs, flags_to_env, get_settings, reset_settings, split_flags

#: Name the demo model is served under.
DEMO_NAME = "origin-demo"

_EPILOG = "Origin vLLM's own settings: `origin-vllm config show --sources`."


class StartError(OriginError):
    """The server could not start, for a reason that only vLLM could find out."""


def serve(argv: Sequence[str]) -> None:
    """Serve until stopped.

    Args:
        argv: Everything after ``origin-vllm serve``.

    Raises:
        OriginError: With one sentence and the way out; ``exit_code`` says what to exit with.
        SystemExit: After ``--help`` (0), a wrong flag of vLLM's (2) or a signal.
    """
    ours, theirs = split_flags(argv)
    os.environ.update(flags_to_env(ours))  # so that every process we start reads the same
    reset_settings()
    settings = get_settings()
    _refuse_other_frontends()
    chosen = _prepare_environment()
    require_vllm()
    from origin_vllm.seam.serving import parse_serve_args, run_serve

    args = parse_serve_args(
        theirs,
        default_model=DEMO_MODEL,
        epilog=_EPILOG,
        our_flags=[(spec.flag, spec.metavar, spec.help) for spec in flag_specs()],
    )
    _check_address(args)
    _choose_model(args, theirs)
    _apply_device_defaults(args, chosen)
    announcement = announce(args) if settings.server.banner else None
    leave_on_signals()
    try:
        run_serve(args)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except OriginError:
        raise
    except Exception as error:
        raise _start_error(args, error) from error
    finally:
        if announcement is not None:
            announcement.cancel()


def _refuse_other_frontends() -> None:
    if os.environ.get("VLLM_USE_RUST_FRONTEND", "0") not in ("", "0"):
        raise ConfigError(
            "VLLM_USE_RUST_FRONTEND replaces the Python API process that Origin vLLM lives in.",
            remedy="env -u VLLM_USE_RUST_FRONTEND origin-vllm serve ...   (or `vllm serve`)",
        )


def _prepare_environment() -> dict[str, str]:
    # As vLLM's own command line does: fork is unsafe once an accelerator was touched.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    if Path("/proc/driver/nvidia/version").exists():
        return {}
    from origin_vllm.engine.cpu import prepare_environment

    return prepare_environment()


def _check_address(args: argparse.Namespace) -> None:
    if not 0 <= args.port <= 65535:
        raise ConfigError(
            f"port: {args.port} is not a port; allowed are 1 to 65535, and 0 for any free one.",
            remedy="origin-vllm serve --port 8000 ...",
        )


def _choose_model(args: argparse.Namespace, argv: Sequence[str]) -> None:
    """Fill in the demo model when no model was named; refuse a path that leads nowhere."""
    named = getattr(args, "model_tag", None)
    model = named or args.model
    if named or model != DEMO_MODEL:
        if model.startswith((".", "/", "~")) and not Path(model).expanduser().exists():
            raise ConfigError(
                f"model: there is no folder or file {model!r}.",
                remedy="give an existing folder, a name such as Qwen/Qwen3-0.6B, or nothing for "
                "the demo model",
            )
        return
    args.model = DEMO_MODEL
    if args.served_model_name is None:
        args.served_model_name = [DEMO_NAME]
    if not args.host and not args.uds:
        args.host = "127.0.0.1"  # a demonstration is nobody else's business
    if not any("enforce-eager" in word.replace("_", "-") for word in argv):
        args.enforce_eager = True  # compiling takes longer than all it could save here
    if args.tool_call_parser is None:
        args.enable_auto_tool_choice, args.tool_call_parser = True, "hermes"
    grammars = args.structured_outputs_config
    if grammars.backend == "auto" and not grammars.disable_any_whitespace:
        # JSON may hold blanks anywhere, and a model this small never stops writing them. "auto"
        # can't be told so; of the two that can, only xgrammar also knows tool calls.
        args.structured_outputs_config = dataclasses.replace(
            grammars, backend="xgrammar", disable_any_whitespace=True
        )


def _apply_device_defaults(args: argparse.Namespace, environment: dict[str, str]) -> None:
    """Set what the user left open for this device, and say what was set."""
    from origin_vllm.engine.cpu import apply_cpu_defaults
    from origin_vllm.seam.engine import current_platform

    if not current_platform.is_cpu():
        return
    chosen = {**environment, **apply_cpu_defaults(args)}
    if chosen:
        listed = "  ".join(f"{name}={value}" for name, value in chosen.items())
        sys.stderr.write(f"origin-vllm: on this CPU, set {listed}\n")


def _start_error(args: argparse.Namespace, error: Exception) -> OriginError:
    """What went wrong, in one sentence, from what vLLM raised."""
    if os.environ.get("VLLM_LOGGING_LEVEL", "").upper() == "DEBUG":
        traceback.print_exception(error)
    text = _first_line(error)
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        where = args.uds or f"port {args.port} on {args.host or 'all addresses'}"
        return ConfigError(
            f"port: {where} is already in use.",
            remedy=f"origin-vllm serve --port {args.port + 1} ...   (or stop what listens there)",
        )
    if isinstance(error, OSError) and error.errno in (errno.EADDRNOTAVAIL, errno.EACCES):
        return ConfigError(
            f"host, port: can't listen on {args.host or 'all addresses'}:{args.port} "
            f"({os.strerror(error.errno)}).",
            remedy="origin-vllm serve --host 127.0.0.1 --port 8000 ...",
        )
    if isinstance(error, socket.gaierror):
        return ConfigError(
            f"host: {args.host!r} is not an address of this machine.",
            remedy="origin-vllm serve --host 127.0.0.1 ...",
        )
    if type(error).__module__.startswith("huggingface_hub") or any(
        words in str(error) for words in _NO_SUCH_MODEL
    ):
        return ConfigError(
            f"model: {args.model!r} is neither a folder with a model nor a model that the hub "
            "gave us.",
            remedy="check the name and the network (HF_HUB_OFFLINE, HF_TOKEN for gated models), or "
            "give a folder with config.json, weights and tokenizer",
            detail=str(error),
        )
    return StartError(
        f"vLLM stopped with {type(error).__name__}: {text}",
        remedy="read the log above; VLLM_LOGGING_LEVEL=DEBUG shows the whole traceback",
        detail=repr(error),
    )


# How transformers and huggingface_hub say that a model can't be had.
_NO_SUCH_MODEL = (
    "is not a valid model identifier",
    "not a local folder",
    "Can't load the configuration",
    "couldn't connect to",
    "Repository Not Found",
    "Repo id must",
    "Cannot find any model weights",
    "Invalid repository ID",
    "find the requested files in the cached path",
    "does not appear to have a file named config.json",
    "Unrecognized model in",
)


def _first_line(error: Exception) -> str:
    """The first line that says something; pydantic's begins with a count."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 2 and "validation error" in lines[0]:
        lines = lines[1:]
    if len(lines) > 1 and len(lines[0]) < 20:
        return f"{lines[0]}: {lines[1]}"
    return lines[0] if lines else "no message"
