"""Every block of the documentation works: Python runs, commands parse, profiles load."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import typer

from cimsim.cli import command_line, main
from cimsim.profile import Profile, validate_file
from cimsim.profile.section_types import SectionTypes, inner_types, keys_of, kind_of

ROOT = Path(__file__).parents[1]
GENERATED = ROOT / "docs" / "generated"
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if GENERATED not in page.parents
)
LANGUAGES = {"python", "bash", "yaml", "text"}
# Whose options are no business of these tests.
OTHER_PROGRAMS = {"pip", "source", "pytest", "jupytext", "ls", "git"}
# Commands that read nothing but what is shipped, and end soon.
CHEAP = ("profiles list", "profiles show", "profiles curves", "profiles schema", "methods")
HEADER = "schema_version: 1\nname: block\ntitle: a block of the documentation\n"

_BLOCK = re.compile(
    r"(?:^<!-- needs (?P<needs>[^\n]*) -->\n)?"
    r"^(?:```(?P<language>[^\n]*)|<!-- setup)\n(?P<text>.*?)^(?:```|-->)$",
    re.S | re.M,
)
_KEY = re.compile(
    r"`(?:--set )?((?:cell|array|dac|adc|wires|cost)(?:\.(?!json|csv|png)[\w-]+)+)[`=:]"
)
_INLINE = re.compile(r"(?<!`)`(cimsim [^`]+)`(?!`)")


class Block(NamedTuple):
    """A fenced block, or the hidden setup of a page, with the number of its first line and the
    optional packages that it needs."""

    language: str
    text: str
    line: int
    needs: list[str]

    def missing(self) -> list[str]:
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(
            (match["language"] if match["language"] is not None else "python").strip(),
            match["text"],
            text.count("\n", 0, match.start("text")) + 1,
            [name.strip() for name in (match["needs"] or "").split(",") if name.strip()],
        )
        for match in _BLOCK.finditer(text)
    ]


def commands(page: str) -> Iterator[list[str]]:
    """The words of each command in the page's blocks."""
    for block in blocks(page):
        cell = block.language.startswith("{code-cell}") and "%%bash\n" in block.text
        if block.language != "bash" and not cell:
            continue
        text = block.text.partition("%%bash\n")[2] if cell else block.text
        for line in text.replace("\\\n", " ").splitlines():
            yield shlex.split(line, comments=True)


def mentions(page: str) -> Iterator[list[str]]:
    """The words of commands that sentences name, maybe without all of their arguments."""
    for found in _INLINE.findall((ROOT / page).read_text(encoding="utf-8")):
        if "…" not in found:
            yield shlex.split(found)


def pages_with(*languages: str) -> list[str]:
    return [page for page in PAGES if any(b.language in languages for b in blocks(page))]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_language(page: str) -> None:
    for block in blocks(page):
        known = block.language in LANGUAGES or block.language.startswith("{")
        assert known, f"{page}:{block.line}: a block without a known language: {block.language!r}"


# Lightning's own.
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:The number of training batches")
@pytest.mark.filterwarnings("ignore:.*LeafSpec")
# PEFT's, of a name that transformers has changed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("page", pages_with("python"))
def test_python_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "__main__"}
    left_out = []
    for block in blocks(page):
        if block.language == "python" and block.missing():
            left_out.append(f"line {block.line} needs {', '.join(block.missing())}")
        elif block.language == "python":
            # Errors then name the page and its line.
            code = "\n" * (block.line - 1) + block.text
            exec(compile(code, str(ROOT / page), "exec"), names)
    if left_out:
        pytest.skip(f"all other blocks ran, but {'; '.join(left_out)}")


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_yaml_blocks_are_profiles(page: str, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.language == "yaml":
            whole = block.text.startswith("schema_version")
            text = block.text if whole else f"{HEADER}extends: pcm-ibm-2020\n{block.text}"
            file = tmp_path / ("my-device.yaml" if whole else "block.yaml")
            file.write_text(text, encoding="utf-8")
            assert not validate_file(file), f"{page}:{block.line}"


def test_the_issues_of_a_wrong_profile_are_those_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text block with a profile is followed by one with what `cimsim profiles validate` says."""
    texts = [block.text for block in blocks("docs/guide/profiles.md") if block.language == "text"]
    wrong, printed = next(
        (text, following)
        for text, following in pairwise(texts)
        if text.startswith("schema_version")
    )
    monkeypatch.chdir(tmp_path)
    Path("my-device.yaml").write_text(wrong, encoding="utf-8")
    assert printed.splitlines() == list(map(str, validate_file("my-device.yaml")))


@pytest.mark.parametrize("page", PAGES)
def test_keys_of_profiles_exist(page: str) -> None:
    """Those in the text, such as `cell.g_max_uS`; items of lists are named by index or kind."""
    for key in _KEY.findall((ROOT / page).read_text(encoding="utf-8")):
        sections: SectionTypes = (Profile,)
        for part in key.split("."):
            if not part.isdecimal() and part not in map(kind_of, sections):
                assert part in keys_of(sections), f"{page}: {key}"
                sections = inner_types(sections, part)


@pytest.mark.parametrize("page", PAGES)
def test_commands_parse(page: str) -> None:
    """Options that do not exist, missing arguments and unknown programs are errors."""
    for words in commands(page):
        if words:
            check(words)
    for words in mentions(page):
        parse(words[1:], whole=False)


def check(words: list[str]) -> None:
    program, *rest = words
    if program == "cimsim":
        parse(rest)
    elif program == "torchrun":
        parse(rest[rest.index("cimsim") + 1 :])
    elif program == "make":
        targets = [word for word in rest if "=" not in word]
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in targets:
            assert re.search(rf"^{target}:", makefile, re.M), f"no target {target}"
    elif Path(program).name == "python" and rest[0] == "-m":
        if rest[1].startswith(("benchmarks.", "tests.")):
            place = ROOT.joinpath(*rest[1].split("."))
            assert place.with_suffix(".py").is_file() or place.is_dir(), words
    elif Path(program).name == "python":
        assert (ROOT / rest[0]).is_file(), words
    elif "=" in program and len(rest) > 1:
        check(rest)  # a variable of the environment
    else:
        assert program in OTHER_PROGRAMS, words


def parse(words: list[str], whole: bool = True) -> None:
    """Parse a command line as the program does, without running it.

    Unless it is ``whole``, arguments and values of options may be missing.
    """
    command: Any = typer.main.get_command(command_line)
    command.import_all()
    name = "cimsim"
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name, *words = words
        assert name in command.commands, f"no command {name}"
        command = command.commands[name]
    if words in (["--help"], ["--version"]) or (hasattr(command, "commands") and not words):
        return
    assert not hasattr(command, "commands"), words
    try:
        command.make_context(name, words)
    except typer.Exit:
        pass
    except Exception as error:
        # Its class is part of typer, but has no public name.
        if whole or type(error).__name__ not in ("MissingParameter", "BadOptionUsage"):
            raise


def cheap_commands() -> list[tuple[str, ...]]:
    """The words of commands that need no file of the reader's."""
    found = {
        tuple(words[1:]) for page in PAGES for words in commands(page) if words[:1] == ["cimsim"]
    }
    return sorted(
        words
        for words in found
        if " ".join(words).startswith(CHEAP)
        and not any(word.isupper() or word.endswith(".yaml") for word in words)
    )


@pytest.mark.parametrize("words", cheap_commands(), ids=" ".join)
def test_cheap_commands_run(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0


def test_the_pages_are_found() -> None:
    assert {"README.md", "docs/guide/python.md", "docs/tutorials/1_digits.md"} <= set(PAGES)
    assert sum(len(list(commands(page))) for page in PAGES) > 90
    assert os.sep not in PAGES[0]
