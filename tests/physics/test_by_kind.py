"""Handlers by the class of their first argument."""

import pytest

from cimsim.physics.by_kind import ByKind


def test_a_handler_serves_the_classes_its_first_argument_names() -> None:
    @ByKind
    def size(thing: object, factor: int) -> int:
        """How large."""
        raise NotImplementedError(type(thing).__name__)

    @size.register
    def _(thing: str | bytes, factor: int) -> int:
        return len(thing) * factor

    @size.register
    def _(thing: int, factor: int) -> int:
        return thing * factor

    assert size("abc", 2) == size(b"abc", factor=2) == size(3, 2) == 6
    assert set(size.registry) == {str, bytes, int}
    assert size.__doc__ == "How large."
    with pytest.raises(NotImplementedError, match="float"):
        size(1.0, 2)
