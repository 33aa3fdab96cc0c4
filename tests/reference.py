"""A second simulator of one linear layer, slow and by the equations that profiles print.

It shares no code with the library: numpy instead of torch, cells drawn one field after another from
numpy's generator, lines solved as one system of equations, converters that try, ramp and amplify
instead of tables. Only what the numbers are distributed like can be compared, over many chips.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import truncnorm

from cimsim.profile import Profile

Numbers = NDArray[np.float64]
K_B = 1.380649e-23
K_B_eV = 8.617333262e-5


def curve(c: Any, r: Numbers) -> Numbers:
    """The formulas of profile curves."""
    r = np.asarray(r, dtype=float)
    log = np.log(np.maximum(r, 1e-7))
    if c.kind == "polynomial":
        return np.asarray(sum(k * r**n for n, k in enumerate(c.coefficients)) + 0 * r)
    if c.kind == "clipped-log":
        return np.minimum(np.maximum(c.slope * log + c.intercept, c.min), c.max)
    if c.kind == "capped-power":
        return np.minimum(c.coefficient * np.maximum(r, 1e-7) ** c.exponent, c.max)
    if c.kind == "log-polynomial":
        return np.asarray(sum(k * (log / math.log(10)) ** n for n, k in enumerate(c.coefficients)))
    if c.kind == "saturating":
        return np.asarray(c.amplitude * (1 - np.exp(-r / c.scale)))
    if c.kind == "table":
        return np.asarray(np.interp(r, c.r, c.values))
    assert c.kind == "piecewise"
    return np.where(r < c.at, curve(c.below, r), curve(c.above, r))


class Reference:
    """A layer ``weight [outputs, inputs]`` on the device of ``profile``, with what its calibration
    has found: the full scales ``dac_range`` and ``adc_range`` (in the shape that the profile's
    ``range_per`` gives them), whether inputs are ``unsigned``, and ``fitted`` values of codes."""

    def __init__(
        self,
        profile: Profile,
        weight: Numbers,
        ranges: tuple[float, Numbers],
        rng: np.random.Generator,
        unsigned: bool = False,
        fitted: Numbers | None = None,
    ) -> None:
        self.unsigned, self.fitted = unsigned, fitted
        self.p, self.rng = profile, rng
        self.dac_range, self.adc_range = ranges
        cell, array = profile.cell, profile.array
        self.pair = array.mapping == "differential-pair"
        self.span = cell.g_max_uS - cell.g_min_uS
        self.middle = (cell.g_max_uS + cell.g_min_uS) / 2
        self.unit = self.span if self.pair else self.span / 2
        self.counts = np.array([1.0, -1.0]) if self.pair else np.array([1.0])
        if array.pairs is not None:
            factors = array.pairs.significance
            self.counts = np.array([f * sign for f in factors for sign in (1.0, -1.0)])
            total = factors[0] if array.pairs.writing == "corrected" else sum(factors)
            self.unit = self.span * total
            if array.pairs.table is not None:
                ends = [[cell_uS[at] for cell_uS in array.pairs.table.g_uS] for at in (0, -1)]
                self.unit = float(self.counts @ (np.array(ends[1]) - np.array(ends[0]))) / 2
        self.bounds = (-math.inf, math.inf)
        if cell.g_min_uS >= 0:
            ceiling = math.inf if cell.g_ceiling_uS is None else cell.g_ceiling_uS
            self.bounds = (cell.g_floor_uS or 0.0, ceiling)
        # Rows on tiles.
        inputs = weight.shape[1]
        tiles = -(-inputs // array.rows)
        each = -(-inputs // tiles) if array.row_split == "even" or tiles == 1 else array.rows
        padded = np.zeros((len(weight), tiles * each))
        padded[:, :inputs] = weight
        self.tiles, self.rows, self.inputs = tiles, each, inputs
        w = padded.reshape(len(weight), tiles, each).transpose(1, 0, 2)  # [tiles, columns, rows]
        largest = np.abs(w).max(axis=2, keepdims=True)  # [tiles, columns, 1]
        self.on_tile = array.columns - (array.mapping == "offset-column")
        if array.weight_scale == "layer":
            largest = np.full_like(largest, largest.max())
        elif array.weight_scale == "tile":
            for first in range(0, len(weight), self.on_tile):
                part = largest[:, first : first + self.on_tile]
                part[:] = part.max(axis=1, keepdims=True)
        self.scale = largest
        self.columns = w.shape[1]
        self.target = self._reached(self._targets(w / self.scale))

    # Weights on cells: [devices, tiles, slices * columns (+ 1), rows].

    def _targets(self, r: Numbers) -> Numbers:
        cell, array = self.p.cell, self.p.array
        self.significance = [1.0]
        slices = [r]
        if cell.levels is not None:
            n, count = cell.levels, array.slices
            top = n**count - 1
            size = np.abs(r) if self.pair else (r + 1) / 2
            number = np.rint(size * top).astype(int)
            slices, self.significance = [], []
            for s in range(count):
                digit = number // n**s % n / (n - 1)
                slices.append(digit * np.sign(r) if self.pair else 2 * digit - 1)
                self.significance.append((n - 1) * n**s / top)
        held = np.concatenate(slices, axis=1)
        if self.pair and array.pairs is not None and array.pairs.table is not None:
            table = array.pairs.table
            return np.stack([np.interp(held, table.r, of_cell) for of_cell in table.g_uS])
        if self.pair:
            self.held = held
            on = self._pair(held)
            later = len(self.counts) // 2 - 1
            shares = array.pairs is None or array.pairs.writing == "shared"
            return np.concatenate((on, *[on if shares else self._pair(0 * held)] * later))
        g = self.middle + held * self.span / 2
        if array.mapping == "offset-column":
            reference = np.full((g.shape[0], 1, g.shape[2]), self.middle)
            g = np.concatenate((g, reference), axis=1)
        return g[None]

    def _pair(self, held: Numbers) -> Numbers:
        on = np.stack((np.maximum(held, 0), np.maximum(-held, 0)))
        return np.asarray(self.p.cell.g_min_uS + on * self.span)

    def _worn(self, fresh: float, values: Any) -> float:
        """A table of the endurance, at its strength."""
        e = self.p.cell.endurance
        if not values:
            return fresh
        known = np.log1p([0.0, *e.cycles_of_table])
        return fresh + e.strength * (np.interp(np.log1p(e.cycles), known, [fresh, *values]) - fresh)

    def _reached(self, target: Numbers) -> Numbers:
        cell = self.p.cell
        if cell.endurance is None:
            return target
        low, high = cell.g_min_uS, cell.g_max_uS
        edges = self._worn(low, cell.endurance.g_low_uS), self._worn(high, cell.endurance.g_high_uS)
        return np.clip(target, *np.clip(edges, low, high))

    # A chip.

    def chip(self, age_s: float) -> None:
        """Program the layer on a new chip and let it wait."""
        cell, rng = self.p.cell, self.rng
        fresh = self._written()
        target = self.target
        g = fresh
        moved = False
        for e in cell.drift:
            if not e.strength:
                continue
            xi = rng.standard_normal(g.shape)
            moved = moved or e.kind != "power-law" or age_s > 0
            time_s = age_s if e.kind == "read-disturb" else self._aged(e, age_s)
            g = DRIFT[e.kind](e, g, target, time_s, xi, self.p)
        if moved:
            g = np.clip(g, *self.bounds)
        faults = [
            (e, {name: rng.uniform(size=size) for name, size in self._fault_draws(g).items()})
            for e in cell.faults
            if e.strength
        ]
        self.before, _ = self._broken(self._warm(fresh), faults)
        self.g, self.open = self._broken(self._warm(g), faults)
        self.state, _ = self._broken(target, faults)
        self.traps = {
            i: rng.uniform(size=g.shape) < e.share_of_cells
            for i, e in enumerate(cell.read_noise)
            if e.kind == "telegraph" and e.strength
        }
        bent = cell.iv is not None and cell.iv.kind == "poole-frenkel"
        self.bends = rng.standard_normal((2, *g.shape)) if bent else np.zeros((2, *g.shape))
        self._slow_noise(age_s)
        self.age_s = age_s
        self.before_seen, seen = self._wired(self.before), self._wired(self.g)
        self.loss = np.divide(seen, self.g, out=np.ones_like(self.g), where=self.g > 0)
        self.seen = seen
        self.factor = self._compensation(age_s) if moved else np.ones((1, 1, 1))
        self._draw_adcs()

    def _written(self) -> Numbers:
        """Pair after pair, where the later ones make up for what the earlier ones have missed."""
        pairs = self.p.array.pairs
        fresh = self._varied(self._programmed())
        if pairs is None or pairs.writing == "shared":
            return fresh
        missing = self.held * self.unit
        for first in range(2, len(self.counts), 2):
            missing = missing - pairs.significance[first // 2 - 1] * (
                fresh[first - 2] - fresh[first - 1]
            )
            share = np.clip(missing / (pairs.significance[first // 2] * self.span), -1, 1)
            self.target = self.target.copy()
            self.target[first : first + 2] = self._reached(self._pair(share))
            fresh[first:] = self._varied(self._programmed())[first:]
        return fresh

    def _programmed(self) -> Numbers:
        cell, target = self.p.cell, self.target
        active = [e for e in cell.programming_noise if e.strength]
        if not active:
            return target
        bias, variance = np.zeros_like(target), np.zeros_like(target)
        for e in active:
            b, s = PROGRAMMING[e.kind](e, target, cell)
            if cell.endurance is not None:
                s = s * self._worn(1.0, cell.endurance.spread_factor)
            if cell.write_verify is not None:  # which draws again what differs from write to write
                b = b + math.sqrt(e.device_share) * s * self.rng.standard_normal(target.shape)
                s = math.sqrt(1 - e.device_share) * s
            bias, variance = bias + b, variance + s**2
        sigma = np.sqrt(variance)
        if cell.write_verify is None:
            error = bias + sigma * self.rng.standard_normal(target.shape)
        else:
            window, safe = cell.write_verify.tolerance_uS, np.maximum(sigma, 1e-12)
            error = truncnorm.rvs(
                *((-window - bias) / safe, (window - bias) / safe, bias, safe),
                random_state=self.rng,
            )
        return np.clip(target + error, *self.bounds)

    def _varied(self, g: Numbers) -> Numbers:
        """Tile by tile; each has a reference column of its own, where there are such columns."""
        if not any(e.strength for e in self.p.cell.variation):
            return g
        referred = self.p.array.mapping == "offset-column"
        columns = self.p.array.columns - referred
        weights, out = (g[:, :, :-1] if referred else g), g.copy()
        for tile in range(g.shape[1]):
            for first in range(0, weights.shape[2], columns):
                block = weights[:, tile, first : first + columns]
                if referred:
                    block = np.concatenate((block, g[:, tile, -1:]), axis=1)
                block = self._varied_tile(block)
                if not referred:
                    out[:, tile, first : first + columns] = block
                    continue
                # One reference is subtracted from all columns, so the others take the difference.
                if first == 0:
                    out[:, tile, -1:] = block[:, -1:]
                moved = block[:, :-1] - block[:, -1:] + out[:, tile, -1:]
                out[:, tile, first : first + columns][:, : moved.shape[1]] = moved
        return out

    def _varied_tile(self, g: Numbers) -> Numbers:
        """Cells of one tile, ``[devices, columns, rows]``."""
        for e in self.p.cell.variation:
            alike: Any = None
            for device in range(len(g)) if e.strength else ():
                if alike is None or e.pair == "apart":
                    alike = VARIATION[e.kind](e, g.shape[1:], self.rng)
                gain, offset = alike
                g = g.copy()
                g[device] *= 1 + e.strength * gain
                g[device] += e.strength * offset * self.p.cell.g_max_uS
        return np.clip(g, *self.bounds)

    def _stored_K(self, e: Any) -> float:
        return 273.15 + (self.p.temperature_C if e.storage_C is None else e.storage_C)

    def _aged(self, e: Any, age_s: float) -> float:
        """The age at the temperature of the effect's times."""
        colder = 1 / self._stored_K(e) - 1 / (e.reference_C + 273.15)
        return age_s * math.exp(-e.activation_eV / K_B_eV * colder)

    def _warm(self, g: Numbers) -> Numbers:
        for e in self.p.cell.temperature:
            if e.strength:
                g = TEMPERATURE[e.kind](e, g, self.p.temperature_C)
        return g

    def _fault_draws(self, g: Numbers) -> dict[str, tuple[int, ...]]:
        blocks = -(-g.shape[2] // self.p.array.columns)
        return {
            "cell": g.shape,
            "level": g.shape,
            "row": (1, g.shape[1], blocks, g.shape[3]),
            "column": (*g.shape[:3], 1),
        }

    def _broken(self, g: Numbers, faults: list[Any]) -> tuple[Numbers, Numbers]:
        cell = self.p.cell
        opened = np.zeros(g.shape, dtype=bool)
        for e, u in faults:
            if e.kind == "stuck":
                low, high = cell.g_min_uS, cell.g_max_uS
                at = {"g_min": low, "g_max": high, "random": low + (high - low) * u["level"]}[e.at]
                g = np.where(u["cell"] < e.strength * e.rate, at, g)
            elif e.kind == "dead-lines":
                rows = np.repeat(u["row"], self.p.array.columns, axis=2)[:, :, : g.shape[2]]
                opened |= rows < e.strength * e.row_rate
                opened |= u["column"] < e.strength * e.column_rate
            else:
                assert e.kind == "map"
                g = g.copy()
                for row, column, device, value in e.cells:
                    if row < g.shape[3] and device < len(g):
                        g[device, :, column :: self.p.array.columns, row] = value
        return np.where(opened, 0.0, g), opened

    def _slow_noise(self, age_s: float) -> None:
        total = np.zeros_like(self.g)
        for i, e in enumerate(self.p.cell.read_noise):
            if not e.strength:
                continue
            if e.kind == "telegraph" and e.t_switch_s is not None and e.t_switch_s >= e.t_session_s:
                filled = self.rng.uniform(size=self.g.shape) < e.occupancy
                step = e.strength * e.step_of_g * self.g
                total += self.traps.pop(i) * step * (e.occupancy - filled)
            elif e.kind in FLICKER:
                whole, fast = self._growth(e, age_s)
                xi = self.rng.standard_normal(self.g.shape)
                total += math.sqrt(whole - fast) * self._amplitude(e) * xi
        self.slow = np.where(self.open, 0.0, total)

    def _growth(self, e: Any, age_s: float) -> tuple[float, float]:
        read_s, time_s = e.t_read_ns * 1e-9, age_s + getattr(e, "t0_s", 0.0)
        both = (time_s, min(time_s, e.t_session_s))
        whole, fast = (max(0.0, math.log((t + read_s) / (2 * read_s))) for t in both)
        return whole, fast

    def _amplitude(self, e: Any) -> Numbers:
        if e.kind == "one-over-f":
            q = np.maximum(curve(e.q, self.state / e.g_ref_uS), 0.0)
            return e.strength * q * self.g
        return e.strength * np.maximum(curve(e.amplitude_uS, self.g / e.g_ref_uS), 0.0)

    def _read_variance(self) -> Numbers:
        total = np.zeros_like(self.g)
        for e in self.p.cell.read_noise:
            if not e.strength or e.kind == "telegraph":
                continue
            if e.kind in FLICKER:
                _, fast = self._growth(e, self.age_s)
                total += fast * self._amplitude(e) ** 2
            else:
                total += WHITE[e.kind](e, self.g, self.p) ** 2
        return np.where(self.open, 0.0, total)

    # Lines.

    def _wired(self, g: Numbers) -> Numbers:
        wires = self.p.wires
        if wires is None or not wires.strength or wires.cells == "gated":
            return g
        seen = np.empty_like(g)
        if self.p.array.mapping == "offset-column":
            return self._wired_beside_references(g, wires)
        if wires.pairs != "apart":
            return self._wired_beside_each_other(g, wires)
        for at in np.ndindex(g.shape[:2]):
            for first in range(0, g.shape[2], self.p.array.columns):
                block = np.s_[first : first + self.p.array.columns]
                seen[at][block] = 1e6 * crossbar(g[at][block].T * 1e-6, wires).T
        return seen

    def _wired_beside_each_other(self, g: Numbers, wires: Any) -> Numbers:
        """Both cells of a pair on one crossbar: cell after cell, placed one by one."""
        seen = np.empty_like(g)
        devices, tiles, columns, rows = g.shape
        for t in range(tiles):
            for first in range(0, columns, self.p.array.columns):
                width = min(self.p.array.columns, columns - first)
                of_columns = wires.pairs == "columns"
                shape = (rows, width * devices) if of_columns else (rows * devices, width)
                tile, places = np.empty(shape), {}
                for d, c, row in np.ndindex(devices, width, rows):
                    place = (row, c * devices + d) if of_columns else (row * devices + d, c)
                    places[d, c, row] = place
                    tile[place] = g[d, t, first + c, row]
                found = 1e6 * crossbar(tile * 1e-6, wires)
                for (d, c, row), place in places.items():
                    seen[d, t, first + c, row] = found[place]
        return seen

    def _wired_beside_references(self, g: Numbers, wires: Any) -> Numbers:
        """Every tile has a reference of its own; what that differs from the first one's by is put
        on the tile's other columns, as one reference is subtracted from all."""
        seen = np.empty_like(g)
        own = self.p.array.columns - 1
        for t in range(g.shape[1]):
            reference = g[0, t, -1:]
            for first in range(0, g.shape[2] - 1, own):
                block = np.s_[first : min(first + own, g.shape[2] - 1)]
                tile = np.concatenate((g[0, t, block], reference))
                found = 1e6 * crossbar(tile.T * 1e-6, wires).T
                if first == 0:
                    seen[0, t, -1] = found[-1]
                seen[0, t, block] = found[:-1] - found[-1] + seen[0, t, -1]
        return seen

    def _relative(self, g: Numbers) -> Numbers:
        """Weights, the slices of an output apart: ``[tiles, slices * columns, rows]``."""
        if self.pair:
            by_current = np.asarray(np.tensordot(self.counts, g, 1) / self.unit)
            return by_current / self._load(g) if self.by_voltage else by_current
        if self.p.array.mapping != "offset-column":
            return (g[0] - self.middle) / self.unit
        return (g[0][:, :-1] - g[0][:, -1:]) / self.unit

    @property
    def by_voltage(self) -> bool:
        return self.p.array.sensing == "voltage"

    def _load(self, g: Numbers) -> Numbers:
        """Denominator of a column's voltage, ``[tiles, columns, 1]``."""
        sums = np.tensordot(np.abs(self.counts), g, 1).sum(-1, keepdims=True)
        return np.asarray(sums / self.unit)

    def _compensation(self, age_s: float) -> Numbers:
        array = self.p.array
        if array.drift_compensation == "none":
            return np.ones((1, 1, 1))
        sums = []
        probe = self.rng.uniform(-1, 1, size=(array.probe_vectors, self.rows))
        for g, seen in ((self.before, self.before_seen), (self.g, self.seen)):
            response = self._relative(seen)
            if array.drift_probe == "measured":
                response = response @ probe.T
            by_column = np.abs(response).sum(-1, keepdims=True)
            sums.append(by_column.sum() if array.drift_compensation == "global" else by_column)
            del g
        return np.asarray(sums[0] / sums[1]).reshape(
            (1, 1, 1) if array.drift_compensation == "global" else sums[0].shape
        )

    # Converters.

    def _draw_adcs(self) -> None:
        adc, rng = self.p.adc, self.rng
        columns = len(self.significance) * self.columns
        places = [divmod(column, self.on_tile) for column in range(columns)]
        own = [(tile, place // adc.columns_per_adc) for tile, place in places]
        count = len(set(own))
        self.adc_of = np.array([sorted(set(own)).index(each) for each in own])
        self.adcs = [
            {
                i: np.asarray(rng.standard_normal((self.tiles, count, DRAWS[e.kind](adc.bits))))
                for i, e in enumerate(adc.errors)
                if e.strength and e.kind in DRAWS
            }
        ][0]

    def _dac(self, x: Numbers) -> tuple[Numbers, float]:
        dac = self.p.dac
        if dac.bits is None:
            return x, 1.0
        step = self.dac_range / self.dac_levels
        lowest = 0 if self.unsigned else -self.dac_levels
        return np.rint(np.clip(x / step, lowest, self.dac_levels)), step

    @property
    def dac_levels(self) -> int:
        bits = self.p.dac.bits
        return int(2**bits - 1 if self.unsigned else 2 ** (bits - 1) - 1)

    def _drive(self, codes: Numbers) -> Numbers:
        dac = self.p.dac
        for e in dac.errors if dac.bits is not None else ():
            codes = codes + bow(e, codes, self.dac_levels)
        return codes

    def read(self, x: Numbers) -> Numbers:
        """``[vectors, inputs]`` gives ``[vectors, outputs]``."""
        dac = self.p.dac
        codes, step = self._dac(x)
        if not dac.bit_serial:
            return self._converted(self._drive(codes), step)
        assert dac.bits is not None
        total = np.zeros((len(x), self.columns))
        for bit in range(dac.bits if self.unsigned else dac.bits - 1):
            plane = np.sign(codes) * (np.abs(codes).astype(int) >> bit & 1)
            total += 2**bit * self._converted(plane, 1.0)
        return total * step

    def _converted(self, drive: Numbers, step: float) -> Numbers:
        """What the ADCs make of one conversion, ``[vectors, outputs]``."""
        array = self.p.array
        padded = np.zeros((len(drive), self.tiles * self.rows))
        padded[:, : self.inputs] = drive
        u = padded.reshape(len(drive), self.tiles, self.rows).transpose(1, 0, 2)
        i = self._currents(u)  # [devices, tiles, vectors, columns], in uS times drive
        offset = np.zeros(())
        if self.pair:
            z = np.tensordot(self.counts, i, 1) / self.unit
            if self.by_voltage:
                z = z / self._load(self.seen).transpose(0, 2, 1)
        elif array.mapping == "offset-column":
            z = (i[0][..., :-1] - i[0][..., -1:]) / self.unit
        else:
            z = i[0] / self.unit
            offset = self._ohmic_middle(u)[..., None]
            if array.mapping == "offset-current":
                z = z - offset
        values = self._adc(z * step)
        if array.mapping == "single-device":
            values = values - offset * step
        counted = np.concatenate([self.scale * s for s in self.significance], axis=1)
        if self.by_voltage:
            counted = counted * self._load(self.target)
        values = values * (counted * self.factor).transpose(0, 2, 1)
        by_slice = values.sum(0).reshape(len(drive), len(self.significance), self.columns)
        return np.asarray(by_slice.sum(1))

    def _ohmic_middle(self, u: Numbers) -> Numbers:
        """What is subtracted digitally: the current of ideal cells in the middle of the range."""
        return np.asarray(u.sum(-1) * self.middle / self.unit)

    def _currents(self, u: Numbers) -> Numbers:
        cell, wires = self.p.cell, self.p.wires
        if wires is not None and wires.strength and wires.cells == "gated":
            return self._gated(u)
        loss = np.where(self.open, 0.0, self.loss)
        i = np.einsum("tvr,dtcr->dtvc", u, self.seen + self.slow * loss)
        if cell.iv is not None and cell.iv.strength:
            full = 1 if self.p.dac.bit_serial else self.dac_levels
            i = np.zeros_like(i)
            for at in np.ndindex(i.shape[:3]):
                d, t, v = at
                if self.p.dac.coding == "duration":  # full voltage for a part of the time
                    sign = np.sign(u[t, v])
                    at_full = IV[cell.iv.kind](cell.iv, self.g[d, t], sign, self.bends[:, d, t])
                    i[at] = (at_full * np.abs(u[t, v]) * loss[d, t]).sum(-1)
                    continue
                own = (cell.iv, self.g[d, t], u[t, v] / full, self.bends[:, d, t])
                per_full = IV[cell.iv.kind](*own)
                i[at] = (per_full * loss[d, t]).sum(-1) * full
            i += np.einsum("tvr,dtcr->dtvc", u, self.slow * loss)
        noise = np.einsum("tvr,dtcr->dtvc", u**2, self._read_variance() * loss**2)
        i = i + np.sqrt(noise) * self.rng.standard_normal(i.shape)
        for index, trapped in self.traps.items():
            e = cell.read_noise[index]
            size = e.strength * e.step_of_g * self.g * trapped * loss
            for v in range(u.shape[1]):
                filled = self.rng.uniform(size=self.g.shape) < e.occupancy
                i[:, :, v] += np.einsum("tr,dtcr->dtc", u[:, v], size * (e.occupancy - filled))
        return i

    def _gated(self, u: Numbers) -> Numbers:
        wires = self.p.wires
        i = np.zeros((len(self.g), self.tiles, u.shape[1], self.g.shape[2]))
        for d, t, v, c in np.ndindex(i.shape):
            for sign in (1, -1):
                for moment in range(1, int(np.abs(u[t, v]).max()) + 1):  # steps of the DAC
                    on = np.where(u[t, v] * sign >= moment, self.g[d, t, c], 0.0) * 1e-6
                    i[d, t, v, c] += sign * 1e6 * gated_column(on, wires)
        noise = np.einsum("tvr,dtcr->dtvc", u**2, self._read_variance())
        slow = np.einsum("tvr,dtcr->dtvc", u, self.slow)
        return np.asarray(i + slow + np.sqrt(noise) * self.rng.standard_normal(i.shape))

    def _adc(self, z: Numbers) -> Numbers:
        adc = self.p.adc
        if adc.bits is None:
            return z
        levels = 2 ** (adc.bits - 1) - 1
        full = self._full_scales()
        u = z / full
        table = None
        for index, e in enumerate(adc.errors):
            if not e.strength:
                continue
            xi = self.adcs.get(index)
            own = None if xi is None else xi[:, self.adc_of][:, None]  # [tiles, 1, columns, draws]
            if e.kind == "measured":
                own = self.rng.standard_normal(u.shape)  # new for every read
            if e.kind in CONVERSIONS:
                table = (e, own)
            else:
                u = READOUT[e.kind](e, u, own, self.p.temperature_C)
        u = u + adc.noise_of_range * self.rng.standard_normal(u.shape)
        if adc.bits == 1 or adc.codes.kind != "uniform":
            return np.asarray(self._nonlinear(u) * full)
        if table is None:
            codes = np.rint(np.clip(u * levels, -levels - 1, levels))
        else:
            e, own = table
            codes = CONVERSIONS[e.kind](e, adc.bits, u * levels, own[:, 0])
        return np.asarray(codes * full / levels)

    def _full_scales(self) -> Numbers:
        """Of every column, ``[tiles, 1, slices * columns]``."""
        per, parts = self.p.adc.range_per, len(self.significance)
        full = np.asarray(self.adc_range, dtype=float)
        if per == "tile":
            tile = np.arange(parts * self.columns) // self.on_tile
            return full.reshape(self.tiles, 1, -1)[:, :, tile]
        shape = {"layer": (1, 1, 1), "slice": (1, parts, 1)}
        full = full.reshape(shape.get(per, (self.tiles, parts, -1)))
        if per == "column":
            full = full[..., : self.columns]  # spare columns, which nothing uses here, follow
        each = np.broadcast_to(full, (self.tiles, parts, self.columns))
        return each.reshape(self.tiles, 1, -1)

    def _nonlinear(self, u: Numbers) -> Numbers:
        """The nearest of the values, or the one between whose thresholds ``u`` lies."""
        codes = self.p.adc.codes
        values = np.array([-1.0, 1.0])
        if codes.kind == "table":
            values = np.array(codes.values_of_range)
            if codes.thresholds_of_range is not None:
                at = sum((u > t).astype(int) for t in codes.thresholds_of_range)
                return np.asarray(values[at])
        elif codes.kind == "lloyd-max":
            assert self.fitted is not None
            values = self.fitted
        return np.asarray(values[np.abs(u[..., None] - values).argmin(-1)])


# The equations, by kind.


def _table_at(curves: Any, times: Any, r: Numbers, t: float) -> Numbers:
    values = np.stack([curve(c, r) for c in curves])
    at = np.interp(math.log(max(t, 1e-300)), np.log(times), np.arange(len(times)))
    low = int(at)
    high = min(low + 1, len(times) - 1)
    return np.asarray(values[low] + (values[high] - values[low]) * (at - low))


def _power_law(e: Any, g: Numbers, target: Numbers, t: float, xi: Numbers, p: Any) -> Numbers:
    r = target / e.g_ref_uS
    hotter = 1.0
    if e.storage_C is not None:
        hotter = (e.storage_C + 273.15) / (p.temperature_C + 273.15)
    nu = e.strength * np.abs(curve(e.nu_mean, r) + e.spread_strength * curve(e.nu_std, r) * xi)
    return np.asarray(g * ((t + e.t0_s) / e.t0_s) ** -(nu * hotter))


def _log_relaxation(e: Any, g: Numbers, target: Numbers, t: float, xi: Numbers, p: Any) -> Numbers:
    log = max(0.0, math.log(t / e.t0_s)) if t else 0.0
    sigma = e.spread_strength * max(0.0, e.sigma0_uS + e.slope_uS * log)
    return np.asarray(g + e.strength * (e.shift_uS * log + sigma * xi))


def _tabulated(e: Any, g: Numbers, target: Numbers, t: float, xi: Numbers, p: Any) -> Numbers:
    r = target / e.g_ref_uS
    celsius = p.temperature_C if e.storage_C is None else e.storage_C

    def at(curves: Any) -> Numbers:
        ages, count = len(e.times_s), max(1, len(e.temperatures_C))
        tables = [
            _table_at(curves[n * ages : (n + 1) * ages], e.times_s, r, t) for n in range(count)
        ]
        inverse = [-1 / (c + 273.15) for c in e.temperatures_C] or [0.0]
        place = np.interp(-1 / (celsius + 273.15), inverse, np.arange(count))
        weights = np.maximum(0, 1 - np.abs(np.arange(count) - place))
        return np.asarray(sum(w * table for w, table in zip(weights, tables, strict=True)))

    sigma = np.maximum(at(e.sigma_uS), 0.0)
    shift = at(e.shift_uS) if e.shift_uS else 0.0
    return np.asarray(g + e.strength * (shift + e.spread_strength * sigma * xi))


def _read_disturb(e: Any, g: Numbers, target: Numbers, t: float, xi: Numbers, p: Any) -> Numbers:
    r = target / e.g_ref_uS
    known = np.log1p([0.0, *e.reads_of_table])
    place = np.interp(np.log1p(e.reads + e.reads_per_s * t), known, np.arange(len(known)))
    weights = np.maximum(0, 1 - np.abs(np.arange(1, len(known)) - place))

    def at(curves: Any) -> Numbers:
        return np.asarray(sum(w * curve(c, r) for w, c in zip(weights, curves, strict=True)))

    shift = at(e.shift_uS) if e.shift_uS else 0.0
    sigma = np.maximum(at(e.sigma_uS), 0.0)
    return np.asarray(g + e.strength * (shift + e.spread_strength * sigma * xi))


def _state_dependent(e: Any, g: Numbers, cell: Any) -> tuple[Numbers, Numbers]:
    r = g / e.g_ref_uS
    bias = 0 * g if e.bias_uS is None else curve(e.bias_uS, r)
    sigma = np.maximum(curve(e.sigma_uS, r), 0.0)
    return e.strength * bias, e.strength * e.spread_strength * sigma


PROGRAMMING: dict[str, Callable[..., tuple[Numbers, Numbers]]] = {
    "state-dependent": _state_dependent,
    "relative": lambda e, g, cell: (0 * g, e.strength * e.sigma_of_g * np.abs(g)),
    "gaussian": lambda e, g, cell: (0 * g, 0 * g + e.strength * e.sigma_of_g_max * cell.g_max_uS),
}


@lru_cache(maxsize=8)
def _principal(
    kernel: str, lengths: tuple[float, float], shape: tuple[int, int]
) -> tuple[Numbers, Numbers]:
    """Variances and directions of one dense covariance of all cells of a tile."""
    column, row = (place.ravel() for place in np.indices(shape))
    steps = np.abs(column[:, None] - column) / lengths[0]
    along = np.abs(row[:, None] - row) / lengths[1]
    rho = np.exp(-steps - along) if kernel == "exponential" else np.exp(-(steps**2) - along**2)
    values, vectors = np.linalg.eigh(rho)
    return np.maximum(values, 0), vectors


def _correlated(e: Any, shape: tuple[int, int], rng: Any) -> tuple[Numbers, float]:
    lengths = (e.length_in_columns, e.length_in_rows)
    values, vectors = _principal(e.kernel, lengths, shape)
    xi = rng.standard_normal(len(values)) * np.sqrt(values)
    return e.sigma_of_g * (vectors @ xi).reshape(shape), 0.0


VARIATION: dict[str, Callable[..., tuple[Any, Any]]] = {
    "correlated": _correlated,
    "tile": lambda e, shape, rng: (
        e.sigma_gain * rng.standard_normal(),
        e.sigma_offset_of_g_max * rng.standard_normal(),
    ),
}
DRIFT: dict[str, Callable[..., Numbers]] = {
    "power-law": _power_law,
    "log-relaxation": _log_relaxation,
    "tabulated": _tabulated,
    "read-disturb": _read_disturb,
}
TEMPERATURE: dict[str, Callable[..., Numbers]] = {
    "linear": lambda e, g, celsius: (
        g
        * np.maximum(
            1 + e.strength * curve(e.alpha_per_K, g / e.g_ref_uS) * (celsius - e.reference_C), 0
        )
    ),
    "arrhenius": lambda e, g, celsius: (
        g
        * math.exp(
            -e.strength
            * e.activation_eV
            / K_B_eV
            * (1 / (celsius + 273.15) - 1 / (e.reference_C + 273.15))
        )
    ),
}
FAULTS = {"stuck", "dead-lines", "map"}
FLICKER = {"one-over-f", "one-over-f-absolute"}
WHITE: dict[str, Callable[..., Numbers]] = {
    "state-dependent": lambda e, g, p: (
        e.strength * np.maximum(curve(e.sigma_uS, g / e.g_ref_uS), 0)
    ),
    "relative": lambda e, g, p: e.strength * e.sigma_of_g * g,
    "gaussian": lambda e, g, p: 0 * g + e.strength * e.sigma_of_g_max * p.cell.g_max_uS,
    "thermal": lambda e, g, p: (
        e.strength
        * 1e6
        * np.sqrt(4 * K_B * (p.temperature_C + 273.15) * g * 1e-6 / (2e-9 * e.t_read_ns))
        / e.v_read_V
    ),
}


def _polynomial_iv(e: Any, g: Numbers, u: Numbers) -> Numbers:
    v, r = e.v_read_V * u, g / e.g_ref_uS
    bent = curve(e.a2_uA_per_V2, r) * np.abs(v) * v + curve(e.a3_uA_per_V3, r) * v**3
    return np.asarray((g * v + e.strength * bent) / e.v_read_V)


def _sinh_iv(e: Any, g: Numbers, u: Numbers) -> Numbers:
    v = e.v_read_V * u
    return np.asarray(g * (v + e.strength * (np.sinh(e.k_per_V * v) / e.k_per_V - v)) / e.v_read_V)


def _poole_frenkel_iv(e: Any, g: Numbers, u: Numbers, deviations: Numbers) -> Numbers:
    """``deviations`` are two independent normal numbers for each cell."""
    v, r = e.v_read_V * u, np.maximum(g / e.g_ref_uS, 0.05)
    x, z = deviations
    y = e.correlation * x + math.sqrt(1 - e.correlation**2) * z
    c = e.c_ref_uS * r**e.c_exponent * np.exp(e.spread_strength * e.sigma_ln_c * x)
    beta = e.beta_ref_per_sqrt_V * r**e.beta_exponent
    beta = beta * np.exp(e.spread_strength * e.sigma_ln_beta * y)
    emitted = np.where(g > 0, c, 0.0) * v * np.exp(beta * np.sqrt(np.abs(v)))
    return np.asarray((g * v + e.strength * (emitted - g * v)) / e.v_read_V)


IV: dict[str, Callable[..., Numbers]] = {
    "polynomial": lambda e, g, u, deviations: _polynomial_iv(e, g, u),
    "sinh": lambda e, g, u, deviations: _sinh_iv(e, g, u),
    "poole-frenkel": _poole_frenkel_iv,
}


def bow(e: Any, steps: Numbers, levels: int) -> Numbers:
    u = np.clip(steps / levels, -1, 1)
    return np.asarray(e.strength * e.peak_of_range * (3 * math.sqrt(3) / 2) * (u - u**3) * levels)


def _readout_temperature(e: Any, u: Numbers, xi: None, celsius: float) -> Numbers:
    warmer = e.strength * (celsius - e.reference_C)
    return np.asarray(u * (1 + e.gain_per_K * warmer) + e.offset_of_range_per_K * warmer)


def _measured(e: Any, u: Numbers, xi: Numbers, celsius: float) -> Numbers:
    mean = np.interp(u, e.ideal_of_range, e.mean_error_of_range)
    spread = np.interp(u, e.ideal_of_range, e.spread_of_range)
    return np.asarray(u + e.strength * (mean + e.spread_strength * spread * xi))


READOUT: dict[str, Callable[..., Numbers]] = {
    "measured": _measured,
    "gain": lambda e, u, xi, celsius: u * (1 + e.strength * e.sigma * xi[..., 0]),
    "offset": lambda e, u, xi, celsius: u + e.strength * e.sigma_of_range * xi[..., 0],
    "bow": lambda e, u, xi, celsius: u + bow(e, u, 1),
    "compression": lambda e, u, xi, celsius: u / (1 + e.strength * e.n * np.abs(u)),
    "temperature": _readout_temperature,
}
DRAWS: dict[str, Callable[[int], int]] = {
    "gain": lambda bits: 1,
    "offset": lambda bits: 1,
    "sar": lambda bits: bits,
    "ramp": lambda bits: 2**bits,
    "pipeline": lambda bits: bits - 1,
}


def _sar(e: Any, bits: int, z: Numbers, xi: Numbers) -> Numbers:
    """Trial after trial, from the largest capacitor: is the input above the level so far?"""
    k = np.arange(bits)
    c = np.maximum(0, 2.0**k + e.strength * e.sigma_unit * np.sqrt(2.0**k) * xi)
    weights = c * 2**bits / (1 + c.sum(-1, keepdims=True))  # [tiles, columns, bits], in steps
    value = z + 2 ** (bits - 1) + 0.5  # offset binary
    level, code = np.zeros_like(value), np.zeros_like(value)
    for bit in reversed(range(bits)):
        trial = level + weights[:, None, :, bit]
        above = value > trial
        level, code = np.where(above, trial, level), code + above * 2**bit
    return np.asarray(code - 2 ** (bits - 1))


def _ramp(e: Any, bits: int, z: Numbers, xi: Numbers) -> Numbers:
    """How many steps of the ramp lie below the input."""
    steps = np.maximum(0, 1 + e.strength * e.sigma_step * xi)
    ramp = steps.cumsum(-1) * 2**bits / steps.sum(-1, keepdims=True)
    value = z + 2 ** (bits - 1) + 0.5
    below = (value[..., None] > ramp[:, None, :, :-1]).sum(-1)
    return np.asarray(below - 2.0 ** (bits - 1))


def _pipeline(e: Any, bits: int, z: Numbers, xi: Numbers) -> Numbers:
    """Stage after stage for a dense ramp of inputs; the edges are where as many codes lie below."""
    dense = np.linspace(-1, 1, 20_001)
    gains = 2 * np.maximum(1 + e.strength * e.sigma_gain * xi, 0.01)
    out = np.empty_like(z)
    half = 2 ** (bits - 1)
    for at in np.ndindex(gains.shape[:2]):
        r, code = dense.copy(), np.zeros_like(dense)
        for stage, gain in enumerate(gains[at]):
            d = np.where(r < -0.25, -1, np.where(r > 0.25, 1, 0))
            code += d * 2.0 ** (bits - 2 - stage)
            r = gain * (r - d / 2)
        code += np.rint(np.clip(r, -1, 1))
        code = np.sort(np.clip(code, -half, half - 1))
        out[at[0], :, at[1]] = np.interp(
            z[at[0], :, at[1]] / half, dense, code, left=-half, right=half - 1
        ).round()
    return out


CONVERSIONS: dict[str, Callable[..., Numbers]] = {"sar": _sar, "ramp": _ramp, "pipeline": _pipeline}


def _join(a: Numbers, i: int, j: int, g: float) -> None:
    """Put a conductance between two nodes of the system ``a``."""
    a[i, i] += g
    a[j, j] += g
    a[i, j] -= g
    a[j, i] -= g


def crossbar(g_S: Numbers, wires: Any) -> Numbers:
    """Effective conductances ``[rows, columns]``: one dense system for all nodes."""
    rows, columns = g_S.shape
    n = rows * columns
    word = wires.strength * wires.r_word_ohm
    bit = wires.strength * wires.r_bit_ohm
    tiny = 1e-9
    per_word, per_bit = 1 / max(word, tiny), 1 / max(bit, tiny)
    first = 1 / max(word + wires.strength * wires.r_source_ohm, tiny)
    last = 1 / max(bit + wires.strength * wires.r_sink_ohm, tiny)
    a, b = np.zeros((2 * n, 2 * n)), np.zeros((2 * n, rows))

    for r in range(rows):
        for c in range(columns):
            node = r * columns + c
            _join(a, node, n + node, g_S[r, c])
            if c == 0:
                a[node, node] += first
                b[node, r] = first
            else:
                _join(a, node - 1, node, per_word)
            if r == rows - 1:
                a[n + node, n + node] += last
            else:
                _join(a, n + node, n + node + columns, per_bit)
    v = np.linalg.solve(a, b)
    return np.asarray(v[n + (rows - 1) * columns :].T * last)


def gated_column(g_S: Numbers, wires: Any) -> float:
    """Current in A per V of a column between a supply line and a bit line."""
    rows = len(g_S)
    tiny = 1e-9
    supply = 1 / max(wires.strength * wires.r_supply_ohm, tiny)
    bit = 1 / max(wires.strength * wires.r_bit_ohm, tiny)
    last = 1 / max(wires.strength * (wires.r_bit_ohm + wires.r_sink_ohm), tiny)
    a, b = np.zeros((2 * rows, 2 * rows)), np.zeros(2 * rows)

    for r in range(rows):
        _join(a, r, rows + r, g_S[r])
        if r == 0:
            a[r, r] += supply
            b[r] = supply
        else:
            _join(a, r - 1, r, supply)
        if r == rows - 1:
            a[rows + r, rows + r] += last
        else:
            _join(a, rows + r, rows + r + 1, bit)
    return float(np.linalg.solve(a, b)[-1] * last)
