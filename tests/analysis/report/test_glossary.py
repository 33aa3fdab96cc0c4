"""The glossary: that of the documentation, only the terms that occur, effects by their titles."""

from __future__ import annotations

from pathlib import Path

from cimsim.analysis.report.glossary import glossary, glossary_section, terms_in

DOCS = Path(__file__).parents[3] / "docs"


def test_it_is_that_of_the_documentation() -> None:
    page = (DOCS / "glossary.md").read_text(encoding="utf-8")
    assert "{include} ../analysis/report/glossary.md" in page
    terms = glossary()
    assert len(terms) > 50
    assert terms["cell"] == "One memory cell."
    assert terms["programming"].endswith("See cimsim.program().")
    for term, meaning in terms.items():
        assert meaning.endswith("."), term
        assert not set("`{}[]") & set(meaning), term


def test_only_terms_that_occur_are_explained() -> None:
    assert list(terms_in("Tiles of a pixel")) == ["tile"]
    assert terms_in("The reader is programmed.") == {}
    assert glossary_section([], "Nothing of that kind.") is None
