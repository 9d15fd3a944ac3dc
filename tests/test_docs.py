"""What the documentation says is so: commands, links, names, layout, versions."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import origin_vllm
from origin_vllm import errors

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "origin_vllm"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
CARD = PACKAGE / "demo_model" / "README.md"

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)

needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"
)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_code(page: Path) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text(page)))


def name_of(page: object) -> str:
    return str(page.relative_to(ROOT)) if isinstance(page, Path) else str(page)


# -- the command line -----------------------------------------------------------------------------


def _renderer() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "render_cli_reference", ROOT / "tools" / "render_cli_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RENDERER = _renderer()
CLI = text(ROOT / "docs" / "cli.md")


def test_every_command_is_documented_once() -> None:
    assert sorted(RENDERER.documented(CLI)) == sorted(RENDERER.commands())


@pytest.mark.parametrize(
    "command",
    [
        # vLLM's parser prints it, and takes seconds to import.
        pytest.param(name, marks=pytest.mark.engine if name.endswith(" serve") else ())
        for name in RENDERER.commands()
    ],
)
def test_help_texts_are_what_the_commands_print(command: str) -> None:
    if not RENDERER.can_render(command):
        pytest.skip("the help of serve is that of the locked vLLM, which is not the one here")
    shown = {match[2]: match[3] for match in RENDERER.BLOCK.finditer(CLI)}
    assert shown[command] == RENDERER.help_text(command), (
        "try: python tools/render_cli_reference.py"
    )


def test_the_renderer_writes_and_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RENDERER, "commands", lambda: ["origin-vllm version"])
    page = tmp_path / "cli.md"
    target = ["--target", str(page)]
    page.write_text("# Nothing\n")
    assert RENDERER.main(target) == 1
    assert "no block for origin-vllm version" in capsys.readouterr().err
    page.write_text("<!-- help: origin-vllm version -->\n\n```text\nold\n```\n\nend\n")
    assert RENDERER.main(["--check", *target]) == 1
    assert "try: python tools/render_cli_reference.py" in capsys.readouterr().err
    assert RENDERER.main(target) == 0
    assert " Usage: origin-vllm version [OPTIONS]\n" in page.read_text()
    assert page.read_text().endswith("```\n\nend\n")
    assert RENDERER.main(["--check", *target]) == 0


def test_exit_statuses_are_documented() -> None:
    statuses = set(re.findall(r"^\| (\d+) \|", CLI, re.MULTILINE))
    assert statuses == {"0"} | {str(cls.exit_code) for cls in _error_classes()}


# -- layout ---------------------------------------------------------------------------------------


def _tree() -> dict[str, str]:
    """The entries of the tree in docs/architecture.md: path to sentence."""
    page = text(ROOT / "docs" / "architecture.md")
    block = page.partition("\nsrc/origin_vllm/\n")[2].partition("```")[0]
    matches = [re.fullmatch(r"  (\S+)\s{2,}(\S.*)", line) for line in block.splitlines()]
    assert all(matches)
    return {match[1]: match[2] for match in matches if match}


def test_the_tree_lists_what_is_there() -> None:
    modules = {path.name for path in PACKAGE.glob("*.py")}
    folders = {
        f"{path.parent.relative_to(PACKAGE)}/"
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.parent != PACKAGE and "__pycache__" not in path.parts
    }
    assert set(_tree()) == modules | folders


def test_what_is_not_here_yet_is_not_here() -> None:
    page = text(ROOT / "docs" / "architecture.md").partition("## What is not here yet")[2]
    rooms = {room for room in re.findall(r"`(\w+)/`", page) if f"{room}/" not in _tree()}
    assert {"reuse", "nlp", "similarity"} <= rooms
    assert not [room for room in rooms if any((PACKAGE / room).glob("*.py"))]


# -- names in Python ------------------------------------------------------------------------------


def _rows(page: str, heading: str) -> Iterator[list[str]]:
    """The cells of each row of the table whose heading starts like this."""
    table = page.partition(f"\n{heading}")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


PYTHON = text(ROOT / "docs" / "python.md")


@pytest.mark.engine
@needs_vllm
def test_documented_names_are_where_they_are_said_to_be() -> None:
    named = set()
    for names, module, _ in _rows(PYTHON, "| name | also at |"):
        for name in re.findall(r"`(\w+)`", names):
            named.add(name)
            found = getattr(importlib.import_module(module.strip("`")), name)
            assert found is getattr(origin_vllm, name)
    import vllm

    ours = {name for name in origin_vllm.__all__ if not name.startswith("__")}
    extended = {
        name for name in ours if getattr(origin_vllm, name) is not getattr(vllm, name, None)
    }
    only_ours = PYTHON.partition("Names of ours only:")[2].partition("\n\n")[0]
    assert named | set(re.findall(r"`(\w+)`", only_ours)) == extended


@pytest.mark.engine
@needs_vllm
def test_documented_metadata() -> None:
    from origin_vllm.engine.collector import EnhancedRequestOutputCollector
    from origin_vllm.engine.outputs import EnhancedRequestOutput

    output = EnhancedRequestOutput("id", None, None, None, [], finished=True)
    rows = {cells[0].strip("`"): cells[2] for cells in _rows(PYTHON, "| key | value |")}
    assert list(rows) == list(output.metadata)
    for key in rows.keys() - {"timings"}:
        assert rows[key] == str(output.metadata[key])
    assert EnhancedRequestOutputCollector("final_only", "id").request_id == "id"


def _error_classes() -> set[type[errors.OriginError]]:
    return {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.OriginError)
    }


def test_the_error_tree_is_shown() -> None:
    shown = PYTHON.partition("\nOriginError\n")[2].partition("```")[0]
    names = set(re.findall(r"^  (\w+)", shown, re.MULTILINE))
    assert names == {cls.__name__ for cls in _error_classes()} - {"OriginError"}


# -- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks_compile(page: Path) -> None:
    for language, code in FENCE.findall(text(page)):
        if language == "python":
            compile(code, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def _slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts and mkdocs make them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text(page)), re.MULTILINE):
        found.add(re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{target} is not there"
        assert not anchor or anchor in _slugs(found), f"{target}: no such heading"
        # A page of the site can only link to another one.
        assert page not in DOCS or found in DOCS, f"{target} is not in docs/"


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r"^\s+- [^:]+: (\S+\.md)$", text(ROOT / "mkdocs.yml"), re.MULTILINE)
    assert sorted(named) == [str(page.relative_to(ROOT / "docs")) for page in DOCS]


def test_both_readmes_say_the_same() -> None:
    english, chinese = map(text, READMES)
    levels = [
        re.findall(r"^(#+) ", FENCE.sub("", readme), re.MULTILINE) for readme in (english, chinese)
    ]
    assert levels[0] == levels[1]
    assert FENCE.findall(english) == FENCE.findall(chinese)
    links = [re.findall(r"\]\((docs/[^)]+)\)", readme) for readme in (english, chinese)]
    assert links[0] == links[1]
    assert max(len(english.splitlines()), len(chinese.splitlines())) <= 110


def test_changelog_has_this_version() -> None:
    versions = re.findall(r"^## (\S+)", text(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == origin_vllm.__version__


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    for page in PAGES:
        content = text(page)
        named = re.findall(r"`make ([a-z-]+)", content)
        for _, code in FENCE.findall(content):
            named += re.findall(r"(?:^|\$ |# )make ([a-z-]+)", code, re.MULTILINE)
        assert set(named) <= targets, name_of(page)
    assert {"serve", "test"} <= targets


@pytest.mark.parametrize("page", [*PAGES, CARD, ROOT / "mkdocs.yml"], ids=name_of)
def test_no_paths_of_anybodys_machine(page: Path) -> None:
    assert re.findall(r"(?<![\w.~])/(?:work|tmp/w|opt|root|home/\w+)\b[^\s]*", text(page)) == []


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\"'>\s]+"
        r"|<link\b[^>]*\bhref=[\"']?(?:https?:)?//[^\"'>\s]+"
        r"|@import\s+[\"']?(?:url\()?[\"']?(?:https?:)?//|url\([\"']?(?:https?:)?//[^)]+"
    )
    pages = [path for path in tmp_path.rglob("*") if path.suffix in (".html", ".css")]
    assert len(pages) > len(DOCS)
    for path in pages:
        assert loaded.findall(path.read_text(encoding="utf-8")) == [], path.name
