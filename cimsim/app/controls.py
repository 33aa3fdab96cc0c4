"""The controls of the page: sliders and menus of the browser itself, which work by keyboard, with
screen readers and on phones."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments

_THROTTLE_S = 0.05
# A screen reader speaks the position at once, and not after an answer of the server.
_ON_INPUT = """(event) => {
    const slider = event.target;
    slider.setAttribute("aria-valuetext", JSON.parse(slider.dataset.texts)[slider.value]);
    emit(slider.value);
}"""
_ON_CHANGE = "(event) => emit(event.target.value)"


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
        self._text, self._changed = text, changed
        with ui.element("div").classes("control"):
            with ui.element("div").classes("names"):
                ui.label(name)
                self._value = ui.label().classes("value")
            self._slider = ui.element("input").props("type=range min=0 step=1")
            self._slider.props["aria-label"] = name
        self.move(positions, value)
        self._slider.on("input", self._on_input, js_handler=_ON_INPUT, throttle=_THROTTLE_S)

    def move(self, positions: Sequence[Any], value: Any) -> None:
        """Offer other positions, and move to one of them, without a call of ``changed``."""
        self._positions = list(positions)
        self._slider.props["max"] = len(self._positions) - 1
        self._slider.props["data-texts"] = json.dumps([self._text(x) for x in self._positions])
        self._place = self._positions.index(value)
        self._value.text = self._text(value)
        self.settle()

    def settle(self) -> None:
        """Send the position to the browser; not while the user moves it, who is ahead."""
        self._slider.props["value"] = self._place
        self._slider.props["aria-valuetext"] = self._value.text
        self._slider.update()

    def _on_input(self, event: GenericEventArguments) -> None:
        place = int(event.args)
        if place == self._place or not 0 <= place < len(self._positions):
            return
        self._place = place
        self._value.text = self._text(self._positions[place])
        self._changed(self._positions[place])


class Menu:
    """A menu of words."""

    def __init__(
        self, name: str, options: Mapping[str, str], value: str, changed: Callable[[str], None]
    ) -> None:
        """
        Args:
            name: the quantity in words.
            options: its values with their words.
            value: the first one.
            changed: called with each new value that the user chooses.
        """
        self._changed = changed
        with ui.element("div").classes("control"):
            with ui.element("div").classes("names"):
                ui.label(name)
            self._select = ui.element("select")
            self._select.props["aria-label"] = name
        self.move(options, value)
        self._select.on("change", self._on_change, js_handler=_ON_CHANGE)

    def move(self, options: Mapping[str, str], value: str) -> None:
        """Offer other options, and choose one of them, without a call of ``changed``."""
        self._values = list(options)
        self._select.clear()
        with self._select:
            for place, text in enumerate(options.values()):
                option = ui.html(html.escape(text), tag="option", sanitize=False)
                option.props["value"] = place
        self._select.props["value"] = self._values.index(value)
        self._select.update()

    def _on_change(self, event: GenericEventArguments) -> None:
        place = int(event.args)
        if 0 <= place < len(self._values):
            self._select.props["value"] = place
            self._changed(self._values[place])
