"""The controls of the page: labeled sliders and menus that are usable by keyboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nicegui import ui
from nicegui.events import ValueChangeEventArguments


class Choice:
    """A slider over listed positions, with its name and the present position in words."""

    def __init__(
        self,
        name: str,
        positions: Sequence[Any],
        value: Any,
        text: Callable[[Any], str],
        changed: Callable[[Any], None],
    ) -> None:
        """
        Args:
            name: the quantity in words.
            positions: its values from left to right.
            value: the first one.
            text: a value in words.
            changed: called with each new value that the user chooses.
        """
        self._positions, self._text, self._changed = list(positions), text, changed
        with ui.element("div").classes("control"):
            with ui.element("div").classes("names"):
                ui.label(name)
                self._value = ui.label().classes("value")
            self._slider = ui.slider(min=0, max=len(positions) - 1, step=1)
            self._slider.props["aria-label"] = name
        self._moved_by_us = False
        self.move(positions, value)
        self._slider.on_value_change(self._on_change)

    def move(self, positions: Sequence[Any], value: Any) -> None:
        """Offer other positions, and move to one of them, without a call of ``changed``."""
        self._positions = list(positions)
        self._slider.props["max"] = len(positions) - 1
        self._moved_by_us = True
        self._slider.value = self._positions.index(value)
        self._moved_by_us = False
        self._show(value)

    def _on_change(self, event: ValueChangeEventArguments) -> None:
        if event.value is None or self._moved_by_us:
            return
        value = self._positions[min(int(event.value), len(self._positions) - 1)]
        self._show(value)
        self._changed(value)

    def _show(self, value: Any) -> None:
        text = self._text(value)
        self._value.text = text
        self._slider.props["aria-valuetext"] = text
        self._slider.update()


class Menu:
    """A menu of words."""

    def __init__(
        self, name: str, options: Mapping[Any, str], value: Any, changed: Callable[[Any], None]
    ) -> None:
        """
        Args:
            name: the quantity in words.
            options: its values with their words.
            value: the first one.
            changed: called with each new value that the user chooses.
        """
        self._changed, self._moved_by_us = changed, False
        self._select = ui.select(dict(options), label=name, value=value).props("dense outlined")
        self._select.classes("full-width")
        self._select.on_value_change(self._on_change)

    def move(self, options: Mapping[Any, str], value: Any) -> None:
        """Offer other options, and choose one of them, without a call of ``changed``."""
        self._moved_by_us = True
        self._select.set_options(dict(options), value=value)
        self._moved_by_us = False

    def _on_change(self, event: ValueChangeEventArguments) -> None:
        if not self._moved_by_us:
            self._changed(event.value)
