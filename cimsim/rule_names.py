"""Letters and names of the backward rules, for code that must not import torch.

:mod:`cimsim.estimators.rules` describes the rules.
"""

from __future__ import annotations

RULE_NAMES = {
    "A": "autograd",
    "B": "weight-ste",
    "C": "output-ste",
    "E": "clipped-ste",
    "F": "programmed-mean",
}
"""The name of each rule by its letter; both are accepted wherever a rule is given."""


def letter_of_rule(rule: str) -> str:
    """The letter of the rule named ``rule``; any other text unchanged.

    >>> letter_of_rule("programmed-mean"), letter_of_rule("F")
    ('F', 'F')
    """
    letters = {name: letter for letter, name in RULE_NAMES.items()}
    return letters.get(rule.lower(), rule)


def described_rules() -> str:
    """All rules in one line, for help texts and errors.

    >>> described_rules()
    'A (autograd), B (weight-ste), C (output-ste), E (clipped-ste), F (programmed-mean)'
    """
    return ", ".join(f"{letter} ({name})" for letter, name in RULE_NAMES.items())
