"""The controls of the page: sliders, menus and buttons of the browser itself, which work by
keyboard, with screen readers and on phones.

Once they are made, their state is the browser's: the server is behind the user who moves a slider,
and would move it back. To offer something else they are made again.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments

_THROTTLE_S = 0.05
# A screen reader speaks the position at once, without waiting for the server.
_ON_INPUT = """(event) => {
    const slider = event.target;
    slider.setAttribute("aria-valuetext", JSON.parse(slider.dataset.texts)[slider.value]);
    emit(slider.value);
}"""
_ON_CHANGE = "(event) => emit(event.target.value)"


class Choice:
    """A slider over listed positions, with its name and the current position in words."""

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
        self._name, self._text, self._changed = name, text, changed
        with ui.element("div").classes("control"):
            with ui.element("div").classes("names"):
                ui.label(name)
                self._value = ui.label().classes("value")
            self._place = ui.element("div")
        self.move(positions, value)

    def move(self, positions: Sequence[Any], value: Any) -> None:
        """Offer other positions, and move to one of them, without a call of ``changed``."""
        self._positions, self._chosen = list(positions), value
        texts = [self._text(position) for position in self._positions]
        chosen = self._positions.index(value)
        self._value.text = texts[chosen]
        self._place.clear()
        with self._place:
            slider = ui.element("input").props("type=range min=0 step=1")
        slider.props["max"] = len(texts) - 1
        slider.props["defaultValue"] = chosen  # "value" would be set again at every update
        slider.props["data-texts"] = json.dumps(texts)
        slider.props["aria-valuetext"] = texts[chosen]
        slider.props["aria-label"] = self._name
        slider.on("input", self._on_input, js_handler=_ON_INPUT, throttle=_THROTTLE_S)

    def _on_input(self, event: GenericEventArguments) -> None:
        place = int(event.args)
        if not 0 <= place < len(self._positions) or self._positions[place] == self._chosen:
            return
        self._chosen = self._positions[place]
        self._value.text = self._text(self._chosen)
        self._changed(self._chosen)


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
        self._name, self._changed = name, changed
        with ui.element("div").classes("control"):
            with ui.element("div").classes("names"):
                ui.label(name)
            self._place = ui.element("div")
        self.move(options, value)

    def move(self, options: Mapping[str, str], value: str) -> None:
        """Offer other options, and choose one of them, without a call of ``changed``."""
        self._values = list(options)
        self._place.clear()
        with self._place:
            menu = ui.element("select")
        with menu:
            for place, (name, text) in enumerate(options.items()):
                option = ui.html(html.escape(text), tag="option", sanitize=False)
                option.props["value"] = place
                option.props["selected"] = name == value
        menu.props["aria-label"] = self._name
        menu.on("change", self._on_change, js_handler=_ON_CHANGE)

    def _on_change(self, event: GenericEventArguments) -> None:
        place = int(event.args)
        if 0 <= place < len(self._values):
            self._changed(self._values[place])


def button(text: str, clicked: Callable[[], None], look: str = "") -> None:
    """A button; ``look`` is a class of the style."""
    made = ui.html(html.escape(text), tag="button", sanitize=False).classes(f"button {look}")
    made.props("type=button").on("click", lambda _: clicked(), args=[])
