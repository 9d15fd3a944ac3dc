from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import origin_vllm.errors
from origin_vllm.config import (
    FallbackBase,
    InheritanceConfig,
    create_inherited_class,
    get_base_class,
    get_config,
    safe_inherit,
)
from origin_vllm.errors import BaseClassError, ConfigError, ExtensionError

SOURCE = str(Path(origin_vllm.errors.__file__).parents[1])


@pytest.fixture(autouse=True)
def fallback_as_before() -> Iterator[None]:
    config = get_config()
    before = config._fallback_mode
    yield
    config._fallback_mode = before


@pytest.fixture
def no_extensions() -> Iterator[None]:
    from origin_vllm.extensions import reset_manager

    reset_manager()
    yield
    reset_manager()


def make_checkout(folder: Path) -> Path:
    """A checkout with the outline of vLLM and none of its weight."""
    package = folder / "vllm"
    (package / "entrypoints").mkdir(parents=True)
    files = {
        "__init__.py": "__version__ = '0.32.0'\n__all__ = ['LLM']\n",
        "_version.py": "__version__ = version = '0.32.0'\n",
        "entrypoints/__init__.py": "",
        "entrypoints/llm.py": "class LLM:\n    def greet(self): return 'base'\n",
        "broken.py": "raise RuntimeError('needs a device')\n",
        "needy.py": "import a_package_that_is_not_there\n",
        "lazy.py": "def __getattr__(name):\n    raise RuntimeError('not today')\n",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    return folder


def run(code: str, tmp_path: Path, *path: Path, **environment: str) -> Any:
    """Run code in a fresh process and return what it leaves in ``result``."""
    program = tmp_path / "program.py"
    end = "if __name__ == '__main__':\n    import json; print('RESULT', json.dumps(result))\n"
    program.write_text(f"{code}\n{end}")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ORIGIN_VLLM", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, str(program)],
        env=clean
        | {
            "PYTHONPATH": os.pathsep.join([*map(str, path), SOURCE]),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
        }
        | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("RESULT ")[2])


# -- classes --------------------------------------------------------------------------------------

# At the top of a module, as users do it: pickling finds the class by this name.
Shouting = safe_inherit(
    "collections", "OrderedDict", "Shouting", {"shout": lambda self: str(self["x"]).upper()}
)
Quiet = create_inherited_class(OrderedDict, "Quiet", {"level": 3}, docstring="A quiet one.")


def test_inherited_classes_are_true_subclasses() -> None:
    assert issubclass(Shouting, OrderedDict)
    assert Shouting(x="hey").shout() == "HEY"
    assert (Shouting.__name__, Shouting.__qualname__, Shouting.__module__) == (
        "Shouting",
        "Shouting",
        __name__,
    )
    assert Quiet.level == 3
    assert Quiet.__doc__ == "A quiet one."
    assert Quiet.__module__ == __name__


@pytest.mark.parametrize("cls", [Shouting, Quiet])
def test_they_pickle(cls: type[Any]) -> None:
    again = pickle.loads(pickle.dumps(cls(x=1)))
    assert type(again) is cls
    assert again == {"x": 1}


def test_base_by_name_metaclass_and_hooks() -> None:
    made = create_inherited_class(("collections", "OrderedDict"), "Made", module="their.module")
    assert issubclass(made, OrderedDict)
    assert made.__module__ == "their.module"

    seen: list[object] = []

    class Base:
        def __init_subclass__(cls) -> None:
            seen.append(cls.flavour)  # type: ignore[attr-defined]

    class Named:
        def __set_name__(self, owner: type, name: str) -> None:
            seen.append(name)

    create_inherited_class(Base, "Sub", {"flavour": "sweet", "field": Named()})
    assert seen == ["field", "sweet"]

    abstract = create_inherited_class(("collections.abc", "Sized"), "Abstract")
    with pytest.raises(TypeError, match="abstract"):
        abstract()


def test_what_attributes_say_wins() -> None:
    made = create_inherited_class(dict, "Made", {"__doc__": "theirs"}, docstring="ours")
    assert made.__doc__ == "theirs"


@pytest.mark.parametrize("base", [bool, Enum("Colour", "RED"), types.FunctionType])
def test_final_bases_are_refused(base: type[Any]) -> None:
    with pytest.raises(BaseClassError, match="can't be inherited from"):
        create_inherited_class(base, "Sub")


def test_names_are_identifiers() -> None:
    with pytest.raises(ConfigError, match="class name 'my class'"):
        create_inherited_class(dict, "my class")
    with pytest.raises(ConfigError, match="attribute name 'a-b'"):
        create_inherited_class(dict, "Sub", {"a-b": 1})


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        ("collections", "OrderdDict", "did you mean 'OrderedDict'"),
        ("json.decodre", "JSONDecoder", "no module 'json.decodre'; did you mean 'json.decoder'"),
        ("json.xyz", "JSONDecoder", "did you mean 'JSONDecoder' of 'json'"),
        ("json.xyz", "Zyx", "no module 'json.xyz'$"),
        ("no_such_package.a.b", "X", "no module 'no_such_package'$"),
        ("json", "dumps", "not a class but a function"),
    ],
)
def test_missing_bases_are_named(module: str, name: str, message: str) -> None:
    with pytest.raises(BaseClassError, match=message) as caught:
        get_base_class(module, name)
    assert f"base class {name!r} of module {module!r}" in str(caught.value)
    get_config().enable_fallback_mode(False)
    with pytest.raises(BaseClassError, match=message):
        safe_inherit(module, name, "Mine")


def test_fallback_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    get_config().enable_fallback_mode(True)
    made = safe_inherit("no_such_package.x", "Thing", "Mine", {"greet": lambda self: "hi"})
    assert len(caplog.records) == 1
    assert caplog.records[0].levelname == "WARNING"
    assert "no_such_package.x.Thing" in caplog.text
    assert issubclass(made, FallbackBase)
    assert made.is_fallback is True
    assert made.missing_base == "no_such_package.x.Thing"
    assert made.__module__ == __name__
    thing = made("any", arguments=True)
    assert thing.greet() == "hi"
    assert not hasattr(thing, "generate")
    with pytest.raises(AttributeError, match=r"'generate'.*no_such_package.x.Thing is missing"):
        thing.generate("Hello")


# -- the configuration ----------------------------------------------------------------------------


def test_one_configuration_with_fallback_on() -> None:
    assert get_config() is get_config()
    assert isinstance(get_config(), InheritanceConfig)
    assert InheritanceConfig().fallback_mode is True


def test_fallback_mode_is_a_bool() -> None:
    config = get_config()
    config.enable_fallback_mode(False)
    assert config.fallback_mode is False
    config.enable_fallback_mode()
    assert config.fallback_mode is True
    with pytest.raises(ConfigError, match="'false'"):
        config.enable_fallback_mode("false")  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_extensions")
def test_custom_extensions() -> None:
    config = get_config()

    def custom_logger(event: object) -> None: ...

    config.add_custom_extension("logging", custom_logger)
    assert config.custom_extensions == {"logging": custom_logger}
    with pytest.raises(ExtensionError, match="already"):
        config.add_custom_extension("logging", print)
    config.add_custom_extension("logging", print, replace=True)
    assert config.custom_extensions == {"logging": print}
    with pytest.raises(ExtensionError, match="did you mean 'logging'"):
        config.remove_custom_extension("loging")
    config.remove_custom_extension("logging")
    assert config.custom_extensions == {}


def test_import_is_light(tmp_path: Path) -> None:
    heavy = ("vllm", "torch", "pydantic", "pluggy", "asyncio")
    code = f"import sys, origin_vllm.config\nresult = [m for m in {heavy} if m in sys.modules]"
    assert run(code, tmp_path) == []


def test_the_documents_calls(tmp_path: Path) -> None:
    """Word for word, but for the path, which must exist."""
    checkout = make_checkout(tmp_path / "vllm")
    code = f"""
def my_custom_function(event): pass
def custom_logger(event): pass
def my_custom_method(self): return "mine"

from origin_vllm.config import get_config, safe_inherit

config = get_config()
config.add_custom_extension("my_feature", my_custom_function)
config.set_base_vllm_path({str(checkout)!r})
config.enable_fallback_mode(True)
config.add_custom_extension("logging", custom_logger)

MyClass = safe_inherit('vllm.some.module', 'SomeClass', 'MyClass', {{
    'custom_method': my_custom_method
}})
Real = safe_inherit('vllm.entrypoints.llm', 'LLM', 'Real', {{
    'custom_method': my_custom_method
}})

print(f"Base vLLM path: {{config.base_vllm_path}}")
print(f"Fallback mode: {{config.fallback_mode}}")
result = [MyClass().custom_method(), MyClass.is_fallback, Real().custom_method(), Real().greet(),
    list(config.custom_extensions), config.base_vllm_path, config.fallback_mode, MyClass.__module__]
"""
    assert run(code, tmp_path) == [
        "mine",
        True,
        "mine",
        "base",
        ["my_feature", "logging"],
        str(checkout),
        True,
        "__main__",
    ]


# -- where vLLM comes from ------------------------------------------------------------------------

SET_PATH = """
import os, sys
import multiprocessing, subprocess
from origin_vllm.config import get_config

def where(queue):
    import vllm
    queue.put(vllm.__file__)

def main():
    get_config().set_base_vllm_path({given!r})
    import vllm
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=where, args=(queue,))
    process.start()
    spawned = queue.get(timeout=60)
    process.join(60)
    started = subprocess.check_output(
        [sys.executable, "-c", "import vllm; print(vllm.__file__)"], text=True
    ).strip()
    return [vllm.__file__, spawned, started, sys.path[0], os.environ["PYTHONPATH"].split(":")[0]]

if __name__ == "__main__":
    result = main()
"""


@pytest.mark.parametrize("what", ["checkout", "package"])
def test_the_checkout_is_the_base_here_and_in_children(tmp_path: Path, what: str) -> None:
    installed = make_checkout(tmp_path / "installed")
    checkout = make_checkout(tmp_path / "vllm")  # a checkout is usually called so itself
    given = checkout if what == "checkout" else checkout / "vllm"
    found = run(SET_PATH.format(given=str(given)), tmp_path, installed)
    file = str(checkout / "vllm" / "__init__.py")
    assert found == [file, file, file, str(checkout), str(checkout)]


def test_changing_ones_mind_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    one, two = make_checkout(tmp_path / "one"), make_checkout(tmp_path / "two")
    code = f"""
import os, sys
from origin_vllm.config import get_config
config = get_config()
config.set_base_vllm_path({str(one)!r})
config.set_base_vllm_path({str(two / "vllm")!r})
import vllm
config.set_base_vllm_path({str(two)!r})  # the one that is imported: fine
result = [vllm.__file__, {str(one)!r} in sys.path, {str(one)!r} in os.environ["PYTHONPATH"],
    sys.path.count({str(two)!r}), config.base_vllm_path]
"""
    assert run(code, tmp_path) == [
        str(two / "vllm" / "__init__.py"),
        False,
        False,
        1,
        str(two),
    ]


def test_refused_once_another_vllm_is_imported(tmp_path: Path) -> None:
    installed = make_checkout(tmp_path / "installed")
    checkout = make_checkout(tmp_path / "checkout")
    code = f"""
import sys, vllm
from origin_vllm.config import get_config
from origin_vllm.errors import ConfigError
path = list(sys.path)
try:
    get_config().set_base_vllm_path({str(checkout)!r})
except ConfigError as error:
    result = [str(error), sys.path == path, get_config().base_vllm_path]
"""
    message, unchanged, base = run(code, tmp_path, installed)
    assert "already imported" in message
    assert "try: call set_base_vllm_path() before" in message
    assert unchanged
    assert base == str(installed / "vllm")


def test_refused_when_an_import_hook_goes_first(tmp_path: Path) -> None:
    installed = make_checkout(tmp_path / "installed")
    checkout = make_checkout(tmp_path / "checkout")
    code = f"""
import importlib.util, os, sys
from origin_vllm.config import get_config
from origin_vllm.errors import ConfigError

class Editable:
    def find_spec(self, name, path=None, target=None):
        if name == "vllm":
            return importlib.util.spec_from_file_location(
                name, {str(installed / "vllm" / "__init__.py")!r})

sys.meta_path.insert(0, Editable())
before = list(sys.path), os.environ["PYTHONPATH"]
try:
    get_config().set_base_vllm_path({str(checkout)!r})
except ConfigError as error:
    result = [str(error), (list(sys.path), os.environ["PYTHONPATH"]) == before]
"""
    message, unchanged = run(code, tmp_path)
    assert "has no effect" in message
    assert unchanged


def test_folders_without_vllm_are_refused(tmp_path: Path) -> None:
    before = list(sys.path)
    (tmp_path / "vllm").mkdir()  # no package in it
    for path in (tmp_path, tmp_path / "vllm", tmp_path / "missing"):
        with pytest.raises(ConfigError, match="no package vllm there"):
            InheritanceConfig().set_base_vllm_path(path)
    for wrong in ("", None, 3, b"bytes"):
        with pytest.raises(ConfigError, match="base_vllm_path is"):
            InheritanceConfig().set_base_vllm_path(wrong)  # type: ignore[arg-type]
    assert sys.path == before


FOUND = "from origin_vllm.config import get_config\nimport sys\n"


def test_path_when_none_was_set(tmp_path: Path) -> None:
    installed = make_checkout(tmp_path / "installed")
    code = f"{FOUND}result = [get_config().base_vllm_path, 'vllm' in sys.modules]"
    assert run(code, tmp_path, installed) == [str(installed / "vllm"), False]
    assert run(f"{FOUND}sys.modules['vllm'] = None\n{code}", tmp_path)[0] is None
    # A folder that happens to be called vllm is not vLLM.
    (tmp_path / "elsewhere" / "vllm").mkdir(parents=True)
    code = f"""
import sys, origin_vllm.settings
from origin_vllm.config import get_config
get_config().base_vllm_path  # what it needs is imported, before the path shrinks
sys.path[:] = [{str(tmp_path / "elsewhere")!r}]
result = get_config().base_vllm_path
"""
    assert run(code, tmp_path) is None
    stub = "import types; sys.modules['vllm'] = types.ModuleType('vllm')\n"
    assert run(f"{FOUND}{stub}result = get_config().base_vllm_path", tmp_path) is None


def test_path_and_fallback_from_the_settings(tmp_path: Path) -> None:
    installed = make_checkout(tmp_path / "installed")
    checkout = make_checkout(tmp_path / "checkout")
    settings = {
        "ORIGIN_VLLM_INHERITANCE__BASE_VLLM_PATH": str(checkout),
        "ORIGIN_VLLM_INHERITANCE__FALLBACK_MODE": "false",
    }
    code = f"""{FOUND}
from origin_vllm.config import get_base_class
config = get_config()
before = [config.base_vllm_path, config.fallback_mode]
base = get_base_class("vllm.entrypoints.llm", "LLM")
config.enable_fallback_mode(True)
result = [*before, sys.modules["vllm"].__file__, config.fallback_mode]
"""
    file = str(checkout / "vllm" / "__init__.py")
    assert run(code, tmp_path, installed, **settings) == [str(checkout), False, file, True]


def test_errors_of_vllm_itself(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    code = """
from origin_vllm.config import get_base_class
from origin_vllm.errors import BaseClassError
result = []
for module, name in [("vllm.entrypoints.lm", "LLM"), ("vllm.engine.llm", "LLM"),
                     ("vllm.broken", "X"), ("vllm.needy", "X"), ("vllm.lazy", "X")]:
    try:
        get_base_class(module, name)
    except BaseClassError as error:
        result.append(error.message)
"""
    messages = run(code, tmp_path, checkout)
    assert "did you mean 'vllm.entrypoints.llm'" in messages[0]
    assert "did you mean 'LLM' of 'vllm'" in messages[1]
    assert "doesn't import (RuntimeError)" in messages[2]
    assert "doesn't import (ModuleNotFoundError)" in messages[3]
    assert "doesn't import (RuntimeError)" in messages[4]


def test_without_vllm(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["vllm"] = None
from origin_vllm.config import get_base_class, get_config, safe_inherit
from origin_vllm.errors import BaseClassError
result = [safe_inherit("vllm.entrypoints.llm", "LLM", "Mine").is_fallback]
get_config().enable_fallback_mode(False)
for ask in (get_base_class, lambda *names: safe_inherit(*names, "Mine")):
    try:
        ask("vllm.entrypoints.llm", "LLM")
    except BaseClassError as error:
        result.append(str(error))
"""
    fell_back, *messages = run(code, tmp_path)
    assert fell_back is True
    for message in messages:
        assert "base class 'LLM' of module 'vllm.entrypoints.llm': vLLM is not installed" in message
        assert "try: " in message
