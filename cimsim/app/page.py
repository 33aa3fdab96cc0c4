"""The page: controls on the left, numbers at the top, and figures that follow the controls.

This module draws only; every number and sentence is from :mod:`cimsim.app.updates`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nicegui import background_tasks, ui

from cimsim.analysis.labels import layer_name
from cimsim.app.controls import Choice, Menu, button
from cimsim.app.session import CHIPS_MAX, NOISE_MAX, SAMPLES, Session
from cimsim.app.setting import IDEAL, OWN
from cimsim.app.updates import CAPTIONS, Update, updates
from cimsim.app.worker import SupersededError, Ticket, Worker
from cimsim.errors import CimsimError
from cimsim.units import SECONDS, format_duration

STYLE = Path(__file__).with_name("page.css")
_TITLES = {
    "curve": "Accuracy over noise",
    "energy": "Where the energy goes",
    "weights": "Weights on the chip",
    "signals": "Signal-to-noise ratio of each layer",
}
_AGES = [0.0, 1.0, *(SECONDS[unit] for unit in ("min", "h", "d", "w", "mo", "y"))]
_AGES += [10 * SECONDS["y"]]
_NOISES = [step / 10 for step in range(round(10 * NOISE_MAX) + 1)]
_CHIPS = range(1, CHIPS_MAX + 1)
_BITS = [str(bits) for bits in range(2, 13)]


def show(session: Session, worker: Worker) -> None:
    """Build the page for one visitor."""
    ui.colors(primary="#0072b2")
    ui.add_css(STYLE.read_text(encoding="utf-8"))
    page = Page(session, worker)
    ui.context.client.on_delete(page.leave)
    page.refresh()


class Page:
    """The page of one visitor: the positions of its controls, and its elements."""

    def __init__(self, session: Session, worker: Worker) -> None:
        self._session, self._worker = session, worker
        self._setting = session.start()
        self._ticket = Ticket()
        self._measured = ""  # network whose numbers of samples and chips are chosen
        with ui.element("header").classes("bar"):
            self._title = ui.html("", tag="h1", sanitize=False)
            self._status = ui.label().classes("quiet").props("role=status")
        self._tiles = self._add_tiles()
        with ui.element("div").classes("body"):
            with ui.element("section").classes("card controls").props("aria-label=Controls"):
                self._add_controls()
            with ui.element("div").classes("figures"):
                self._cards = {part: _Card(title) for part, title in _TITLES.items()}
        self._dialog = _Commands()

    def refresh(self) -> None:
        """Compute everything for the current positions; unfinished results become late."""
        self._title.content = html.escape(self._session.title(self._setting))
        self._ticket.supersede()
        self._ticket = Ticket()
        for tile in self._tiles.values():
            tile.set_late()
        for card in self._cards.values():
            card.set_late()
        background_tasks.create(self._follow(self._ticket), name="cimsim app")

    def leave(self) -> None:
        """Compute nothing more for a visitor who is gone."""
        self._ticket.supersede()

    async def _follow(self, ticket: Ticket) -> None:
        """Show the results of the current positions as they are finished."""
        self._say("Computing …")
        try:
            await self._suggest(ticket)
            async for update in updates(self._worker, self._session, self._setting, ticket):
                self._show(update)
        except SupersededError:
            return
        except CimsimError as error:
            self._say(str(error), problem=True)
        except Exception as error:
            self._say(f"An unexpected error: {type(error).__name__}: {error}", problem=True)
            raise
        else:
            self._say("")

    async def _suggest(self, ticket: Ticket) -> None:
        """Choose numbers of samples and chips for a network that is new on the page."""
        if self._measured == self._setting.network:
            return
        setting = self._setting
        suggested = await self._worker.run(ticket, lambda: self._session.suggested(setting))
        self._measured = setting.network
        self._setting = replace(
            self._setting, chips=suggested.chips, samples=suggested.samples, chip=0
        )
        self._move_controls()

    def _say(self, text: str, problem: bool = False) -> None:
        self._status.text = text
        self._status.classes(add="problem" if problem else "", remove="" if problem else "problem")

    def _show(self, update: Update) -> None:
        if update.headline:
            self._tiles[update.part].show(update)
        part = "curve" if update.part == "accuracy" else update.part
        self._cards[part].show(update)
        if update.progress:
            self._say(f"Computing {update.progress} …")

    def _change(self, **changes: object) -> None:
        self._setting = replace(self._setting, **changes)  # type: ignore[arg-type]
        self.refresh()

    def _add_tiles(self) -> dict[str, _Tile]:
        with ui.element("section").classes("tiles").props('aria-label="Results"'):
            with ui.element("div"):
                return {part: _Tile(caption) for part, caption in CAPTIONS.items()}

    def _add_controls(self) -> None:
        setting, session = self._setting, self._session
        if len(session.subjects) > 1:
            names = {name: name for name in session.subjects}
            Menu("Network", names, setting.network, self._to_network)
        self._profile = Menu("Profile", self._profiles(), setting.profile, self._to_profile)
        Choice("Noise", _NOISES, setting.noise, _noise, lambda x: self._change(noise=x))
        Choice("Age", _AGES, setting.age_s, _age, lambda x: self._change(age_s=x))
        adc, dac = session.bits(setting)
        self._adc = Choice("ADC", _bits(adc), adc, _resolution, self._to_adc)
        self._dac = Choice("DAC", _bits(dac), dac, _resolution, self._to_dac)
        self._chips = Choice("Chips", _CHIPS, setting.chips, str, self._to_chips)
        self._samples = Choice(
            "Test samples",
            self._numbers_of_samples(),
            setting.samples,
            self._counted,
            lambda x: self._change(samples=x),
        )
        self._layer = Menu(
            "Weights of layer", self._layers(), setting.layer, lambda x: self._change(layer=x)
        )
        self._chip = Choice(
            "Weights on chip",
            range(setting.chips),
            setting.chip,
            str,
            lambda x: self._change(chip=x),
        )
        button("Show the commands", self._show_commands)
        ui.label("The commands compute the same numbers.").classes("quiet")

    def _move_controls(self) -> None:
        """Move the controls whose positions depend on the network or the profile."""
        setting = self._setting
        adc, dac = self._session.bits(setting)
        self._profile.move(self._profiles(), setting.profile)
        self._adc.move(_bits(adc), setting.adc_bits or adc)
        self._dac.move(_bits(dac), setting.dac_bits or dac)
        self._chips.move(_CHIPS, setting.chips)
        self._samples.move(self._numbers_of_samples(), setting.samples)
        self._layer.move(self._layers(), setting.layer)
        self._chip.move(range(setting.chips), setting.chip)

    def _profiles(self) -> dict[str, str]:
        own = self._session.own_profile(self._setting.network)
        return {OWN: f"as trained: {own}", **{name: name for name in self._session.profiles}}

    def _layers(self) -> dict[str, str]:
        return {name: layer_name(name) for name in self._session.layers(self._setting.network)}

    def _numbers_of_samples(self) -> list[int | None]:
        available = self._session.subject(self._setting.network).test_samples
        return [*(n for n in SAMPLES if available and n < available), None]

    def _counted(self, samples: int | None) -> str:
        available = self._session.subject(self._setting.network).test_samples
        if samples is not None:
            return f"{samples:,}"
        return "all" if available is None else f"all {available:,}"

    def _to_network(self, name: str) -> None:
        self._setting = replace(
            self._setting,
            network=name,
            adc_bits=OWN,
            dac_bits=OWN,
            samples=None,
            chip=0,
            layer=self._session.layers(name)[0],
        )
        self._move_controls()
        self.refresh()

    def _to_profile(self, name: str) -> None:
        try:
            self._setting = replace(self._setting, profile=name, adc_bits=OWN, dac_bits=OWN)
            self._move_controls()
        except CimsimError as error:
            self._say(str(error), problem=True)
            return
        self.refresh()

    def _to_adc(self, bits: str) -> None:
        own = self._session.bits(self._setting)[0]
        self._change(adc_bits=OWN if bits == own else bits)

    def _to_dac(self, bits: str) -> None:
        own = self._session.bits(self._setting)[1]
        self._change(dac_bits=OWN if bits == own else bits)

    def _to_chips(self, chips: int) -> None:
        self._setting = replace(self._setting, chip=min(self._setting.chip, chips - 1))
        self._chip.move(range(chips), self._setting.chip)
        self._change(chips=chips)

    def _show_commands(self) -> None:
        self._dialog.show(self._session.commands(self._setting))


class _Tile:
    """A number with its name."""

    def __init__(self, caption: str) -> None:
        with ui.element("div").classes("tile"):
            self._caption = ui.label(caption).classes("quiet")
            self._headline = ui.label("…").classes("headline")

    def set_late(self) -> None:
        """Show that the number is of earlier positions."""
        self._headline.classes(add="late")

    def show(self, update: Update) -> None:
        """Show a new number."""
        self._caption.text, self._headline.text = update.caption, update.headline
        self._headline.classes(remove="late")


class _Card:
    """A figure with its title and sentences."""

    def __init__(self, title: str) -> None:
        with ui.element("section").classes("card").props(f'aria-label="{title}"'):
            ui.html(html.escape(title), tag="h2", sanitize=False)
            self._details = ui.html("", sanitize=False).classes("quiet")
            self._figure = ui.html("", sanitize=False).classes("figure")

    def set_late(self) -> None:
        """Show that the figure is of earlier positions."""
        self._figure.classes(add="late")

    def show(self, update: Update) -> None:
        """Show new sentences, or a new figure."""
        if update.details:
            texts = "".join(f"<p>{html.escape(text)}</p>" for text in update.details)
            self._details.content = texts
        if update.svg:
            self._figure.content = update.svg  # contains only drawing elements
            self._figure.classes(remove="late")


class _Commands:
    """The window with the commands that compute the same numbers."""

    def __init__(self) -> None:
        title = "Commands that compute the same numbers"
        with ui.dialog() as self._dialog, ui.card().classes("commands"):
            self._dialog.props["aria-label"] = title
            ui.html(title, tag="h2", sanitize=False)
            self._text = ui.html("", tag="pre", sanitize=False).props("tabindex=0")
            with ui.row():
                button("Copy", self._copy)
                button("Close", self._dialog.close, "plain")
        self._lines: Sequence[str] = ()

    def show(self, lines: Sequence[str]) -> None:
        """Open the window."""
        self._lines = lines
        self._text.content = html.escape("\n".join(lines))
        self._dialog.open()

    def _copy(self) -> None:
        ui.clipboard.write("\n".join(self._lines))
        ui.notify("Copied")


def _noise(factor: float) -> str:
    return f"{factor:g} times the profile's"


def _age(age_s: float) -> str:
    return format_duration(age_s) if age_s else "just programmed"


def _bits(own: str) -> list[str]:
    """The positions of a slider of bits: the usual ones, that of the profile, and ideal."""
    numbers = {*_BITS, own} - {IDEAL}
    return [*sorted(numbers, key=int), IDEAL]


def _resolution(bits: str) -> str:
    return IDEAL if bits == IDEAL else f"{bits} bits"
