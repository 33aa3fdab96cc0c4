"""Sources, profiles and documents use American spelling."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "cimsim",
    "training",
    "analysis",
    "device_profiles",
    "benchmarks",
    "tests",
    "docs",
    ".ci",
    ".github",
)
ENDINGS = {
    *(".py", ".pyi", ".h", ".cpp", ".js", ".css", ".html", ".svg"),
    *(".md", ".rst", ".ipynb", ".yaml", ".yml", ".toml", ".json", ".cff", ".sh"),
}
# The title of a paper, an attribute of HTML, and a key of stored results.
KEPT = ("Feature consistency regularisation", "aria-labelledby", "utilisation")

_ISE = (
    "quant|optim|normal|regular|initial|linear|random|ideal|parameter|parametr|summar|general"
    "|serial|visual|organ|recogn|minim|maxim|util|character|equal|penal|discret|binar|synchron"
    "|standard|custom|emphas|real|priorit|stabil|special|vector|token|digit|local|material"
    "|blackwell|central|capital|categor|memor|modular|neutral|polar|symbol|factor"
)
BRITISH = re.compile(
    rf"(?:{_ISE})is(?:e|ed|es|er|ers|ing|ation|ations|able)(?![a-z])"
    r"|(?<![a-z])analys(?:e|ed|ing|er)(?![a-z])"
    r"|(?:behavi|col|neighb|fav|flav|hon|harb|lab|hum|rum|endeav|vig)our"
    r"|(?<![a-z])(?:centr|metr|litr|fibr|calibr|millimetr|kilometr)e(?:d|s)?(?![a-z])"
    r"|(?:model|label|cancel|travel|signal|level|channel|fuel|total|tunnel|marshal)l(?:ed|ing)"
    r"|(?:catal|anal)ogue|(?<![a-z])programme(?:s)?(?![a-z])|(?<![a-z])grey"
    r"|artefact|defence|licence|ageing|whilst|amongst|(?:mis)?spelt(?![a-z])|learnt|focuss"
    r"|aluminium|sceptic|judgement|enquir|read-out|half-way|per-cent(?![a-z])"
)


def texts() -> list[Path]:
    files = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in ENDINGS]
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in ENDINGS]
    kept = {path.resolve() for path in files if path.is_file()} - {Path(__file__).resolve()}
    stored = ROOT / "tests" / "fixtures"  # files of earlier versions
    inside = (p for p in kept if p.is_relative_to(ROOT) and not p.is_relative_to(stored))
    return sorted(p for p in inside if "generated" not in p.parts)


def british(text: str) -> list[str]:
    for kept in KEPT:
        text = text.replace(kept, "")
    words = set(re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower().replace("per cent", "per-cent")))
    return sorted(word for word in words if BRITISH.search(word))


@pytest.mark.parametrize(
    "word",
    [
        *("quantised", "unquantised", "renormalisation", "behaviour", "neighbouring", "colour"),
        *("centre", "modelled", "labelling", "catalogue", "grey", "ageing", "read-out", "analyse"),
    ],
)
def test_a_british_word_is_found(word: str) -> None:
    assert british(f"the {word} here")
    assert british(f"the_{word}_here")


@pytest.mark.parametrize(
    "text",
    [
        *("noise", "otherwise", "realistic", "parameters", "analyses", "analysis", "symmetry"),
        *("programmed", "programmer", "labels", "modeling", "metrics", "four", "hour", "spelled"),
    ],
)
def test_an_american_word_is_not_found(text: str) -> None:
    assert british(text) == []


def test_spelling() -> None:
    found = {}
    for path in texts():
        name = str(path.relative_to(ROOT))
        words = british(name) + british(path.read_text(encoding="utf-8"))
        if words:
            found[name] = words
    assert found == {}
