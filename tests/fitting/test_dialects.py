"""One table, written as instruments and spreadsheets write it, is one set of measurements."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cimsim import CimsimError
from cimsim.fitting import Measurements, Reading, fit_device, read_measurements
from tests.fitting import truth

ROWS = truth.rows(0, cells=12, reads=2)
ROWS = ROWS[np.random.default_rng(1).permutation(len(ROWS))]
ROWS[:, 1] = np.abs(ROWS[:, 1])
UNITS = {"S": 1e6, "mS": 1e3, "uS": 1.0, "µS": 1.0, "nS": 1e-3}
TIMES = {"s": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0}


def expected() -> Measurements:
    cell = ROWS[:, 3].astype(np.int64)
    return Measurements("", ROWS[:, 0], ROWS[:, 1], ROWS[:, 2], cell, np.arange(len(ROWS)))


def assert_same(found: Measurements, wanted: Measurements, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(found.target_uS, wanted.target_uS, rtol=rtol)
    np.testing.assert_allclose(found.measured_uS, wanted.measured_uS, rtol=rtol)
    np.testing.assert_allclose(found.time_s, wanted.time_s, rtol=rtol)
    assert found.cell is not None
    assert wanted.cell is not None
    # Names of cells are any numbers, as long as equal cells stay equal.
    pairs = set(zip(found.cell.tolist(), wanted.cell.tolist(), strict=True))
    assert len(pairs) == len(set(found.cell)) == len(set(wanted.cell))


def number(value: float, decimal: str, quote: str, power: bool = False) -> str:
    text = f"{value:.12e}" if power else f"{value:.12f}".rstrip("0").rstrip(".")
    return quote + text.replace(".", decimal) + quote


@st.composite
def dialects(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """The table in some dialect, and the column order."""
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    decimal = draw(st.sampled_from([".", ","]))
    quote = '"' if delimiter == decimal else draw(st.sampled_from(["", '"']))
    g_unit, t_unit = draw(st.sampled_from(list(UNITS))), draw(st.sampled_from(list(TIMES)))
    style = draw(st.sampled_from(["_", " [", " (", "row of units"]))
    close = {" [": "]", " (": ")"}.get(style, "")
    order = draw(st.permutations(range(4)))
    names = ["g_target", "g_measured", "time", "cell"]
    units = [g_unit, g_unit, t_unit, ""]
    header = [
        names[i] if style == "row of units" or not units[i] else names[i] + style + units[i] + close
        for i in order
    ]
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    trailing = delimiter if draw(st.booleans()) else ""
    lines = [f"sep={delimiter}"] if draw(st.booleans()) else []
    lines += draw(st.sampled_from([[], ["# a comment"], ["Instrument: B1500A", "Lot: 7"]]))
    lines.append(delimiter.join(header) + trailing)
    if style == "row of units":
        lines.append(delimiter.join(units[i] for i in order) + trailing)
    power = draw(st.booleans())
    for row in ROWS:
        texts = [
            number(row[0] / UNITS[g_unit], decimal, quote, power),
            number(row[1] / UNITS[g_unit], decimal, quote, True),
            number(row[2] / TIMES[t_unit], decimal, quote),
            f"W3_C{int(row[3])}",
        ]
        lines.append(delimiter.join(texts[i] for i in order) + trailing)
    if draw(st.booleans()):
        lines.insert(len(lines) // 2, "")
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]))
    return (end.join(lines) + end).encode(encoding), lines


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(dialects())
def test_any_dialect_gives_the_same_measurements(
    tmp_path: Path, dialect: tuple[bytes, list[str]]
) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(dialect[0])
    assert_same(read_measurements(path), expected())


# What single instruments do. Each writes the table in its way; the same must be found, and said.


def lines_of(
    format_row: Callable[[np.ndarray], str],
    rows: np.ndarray = ROWS,  # type: ignore[type-arg]
) -> str:
    return "".join(format_row(row) + "\n" for row in rows)


def plain(row: np.ndarray) -> str:  # type: ignore[type-arg]
    return ",".join(f"{value:.12g}" for value in row)


HEADER = "g_target_uS,g_measured_uS,time_s,cell,read\n"
START = datetime(2026, 11, 25, 23, 58, 30)


def stamped(write: str) -> str:
    """One date and time for each read; the cells follow each other by 40 s, reads by 0.2 s."""

    def row(values: np.ndarray) -> str:  # type: ignore[type-arg]
        g, measured, time, cell, read = values
        since = timedelta(seconds=40 * cell + (time - 1.0) + 0.2 * read)
        text = (START + since).strftime(write)
        return f"{g:.12g},{measured:.12g},{text},{int(cell)},{int(read)}"

    return lines_of(row, ROWS)


@pytest.mark.parametrize(
    ("write", "note"),
    [
        ("%Y-%m-%d %H:%M:%S.%f", "first read of each cell"),
        ("%Y-%m-%dT%H:%M:%S.%fZ", "first read of each cell"),
        ("%Y-%m-%dT%H:%M:%S.%f+01:00", "first read of each cell"),
        ("%d.%m.%Y %H:%M:%S.%f", "day, month, year"),
        ("%d.%m.%y %H:%M:%S.%f", "day, month, year"),
        ("%m/%d/%Y %I:%M:%S.%f %p", "month, day, year"),
        ("%d/%m/%Y %H:%M:%S.%f", "day, month, year"),
        ("%d-%b-%Y %H:%M:%S.%f", "day, month, year"),
        ("%Y%m%dT%H%M%S", "first read of each cell"),
        ("%Y-%m-%d %H:%M:%S", "first read of each cell"),
        ("%Y/%m/%d-%H:%M:%S", "first read of each cell"),
        ("%Y-%m-%d_%H:%M:%S.%f", "first read of each cell"),
        ("%a %b %d %H:%M:%S %Y", "month, day, year"),
        ("%a %d %b %Y %H:%M:%S +0000", "day, month, year"),
    ],
)
def test_points_in_time_become_ages(tmp_path: Path, write: str, note: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(HEADER.replace("time_s", "timestamp") + stamped(write))
    found = read_measurements(path)
    assert note in " ".join(found.notes)
    # Reads in a row are 0.2 s apart, which whole seconds do not show.
    assert ("became one age" in " ".join(found.notes)) == ("%f" in write)
    ages = np.unique(found.time_s)
    # The first read of a cell is at 0 s, and one second after programming here.
    np.testing.assert_allclose(ages, [0.0, 3599.0, 86399.0], atol=1.0)
    place = np.searchsorted(ages, found.time_s)
    assert (place == np.searchsorted(truth.TIMES, ROWS[:, 2])).all()
    fit = fit_device(found)
    assert fit.read_sigma_uS is not None
    assert len(fit.changes) == 2


def test_a_time_of_programming_in_the_file_is_what_ages_count_from(tmp_path: Path) -> None:
    def row(values: np.ndarray) -> str:  # type: ignore[type-arg]
        g, measured, time, cell, _ = values
        written = START + timedelta(seconds=40 * cell)
        read = written + timedelta(seconds=time)
        return f"{g};{measured};{read:%d.%m.%Y %H:%M:%S};{cell};{written:%d.%m.%Y %H:%M:%S}"

    path = tmp_path / "m.csv"
    path.write_text("g_target_uS;g_measured_uS;timestamp;cell;programmed\n" + lines_of(row))
    found = read_measurements(path)
    np.testing.assert_allclose(found.time_s, ROWS[:, 2])
    assert "the time of programming in the file" in " ".join(found.notes)


def test_a_date_and_a_time_of_day_in_two_columns(tmp_path: Path) -> None:
    def row(values: np.ndarray) -> str:  # type: ignore[type-arg]
        g, measured, time, cell, _ = values
        now = START + timedelta(seconds=40 * cell + time)
        return f"{g},{measured},{now:%Y-%m-%d},{now:%H:%M:%S},{cell}"

    path = tmp_path / "m.csv"
    path.write_text("g_target_uS,g_measured_uS,Date,Time,cell\n" + lines_of(row))
    np.testing.assert_allclose(
        np.unique(read_measurements(path).time_s), [0.0, 3599.0, 86399.0], atol=0.5
    )


def test_seconds_since_1970_are_points_in_time(tmp_path: Path) -> None:
    for scale in (1.0, 1e3, 1e6, 1e9):
        rows = ROWS.copy()
        rows[:, 2] = (rows[:, 2] + 1.7e9 + 40 * rows[:, 3]) * scale
        path = tmp_path / "m.csv"
        path.write_text(HEADER + lines_of(lambda r: ",".join(f"{v:.16g}" for v in r), rows))
        found = read_measurements(path)
        np.testing.assert_allclose(np.unique(found.time_s), [0.0, 3599.0, 86399.0], atol=1e-3)
        assert "since 1970" in " ".join(found.notes)


def of_a_spreadsheet(header: str) -> str:
    """Times as a spreadsheet holds them: days since 1900."""
    rows = ROWS.copy()
    rows[:, 2] = 46351.25 + (rows[:, 2] + 40 * rows[:, 3]) / 86400
    body = lines_of(lambda r: ",".join(f"{v:.16g}" for v in r), rows)
    return HEADER.replace("time_s", header) + body


@pytest.mark.parametrize(
    ("header", "unit"), [("timestamp", {}), ("Date/Time", {}), ("time", {"time_s": "d"})]
)
def test_dates_as_a_spreadsheet_counts_them(
    tmp_path: Path, header: str, unit: dict[str, str]
) -> None:
    path = tmp_path / "m.csv"
    path.write_text(of_a_spreadsheet(header))
    columns = {"time_s": header}
    found = read_measurements(path, Reading(units=unit, columns=columns))
    np.testing.assert_allclose(np.unique(found.time_s), [0.0, 3599.0, 86399.0], atol=1e-3)
    assert "read as dates of a spreadsheet" in " ".join(found.notes)


def test_numbers_that_may_be_dates_of_a_spreadsheet_ask(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(of_a_spreadsheet("time"))
    with pytest.raises(CimsimError, match="--unit time_s=s or --unit time_s=d"):
        read_measurements(path)
    for found in (
        read_measurements(path, Reading(units={"time_s": "s"})),
        read_measurements(path.with_name("s.csv")) if path.with_name("s.csv").write_text(
            of_a_spreadsheet("time_s")) else None,
    ):  # fmt: skip
        assert found is not None
        assert found.time_s.min() > 46351  # 13 hours


def test_dates_without_a_time_of_day_are_said_to_be_coarse(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(HEADER.replace("time_s", "date") + stamped("%Y-%m-%d"))
    found = read_measurements(path, Reading(columns={"time_s": "date"}))
    assert "have no time of day: reads of the same day have one age" in " ".join(found.notes)


@pytest.mark.parametrize("order", ["dmy", "mdy"])
def test_dates_that_may_be_two_ask_for_their_order(tmp_path: Path, order: str) -> None:
    body = "".join(
        f"{g},{g + i / 100},0{day}/04/2026 10:00,c{g}-{i}\n"
        for g in (1, 5) for i in range(12) for day in (3, 5)
    )  # fmt: skip
    path = tmp_path / "m.csv"
    path.write_text("g_target_uS,g_measured_uS,timestamp,cell\n" + body)
    with pytest.raises(CimsimError, match=r"'03/04/2026 10:00'.*--date-order dmy or --date-order"):
        read_measurements(path)
    found = read_measurements(path, Reading(date_order=order))
    last = (datetime(2026, 5, 4) - datetime(2026, 3, 4)).days if order == "mdy" else 2
    assert found.time_s.max() == 86400 * last


def test_dates_at_the_end_of_the_calendar_are_no_overflow(tmp_path: Path) -> None:
    body = "".join(
        f"{g},{g + i / 100},9999-12-31 23:59:{30 + read}-14:00,c{g}-{i}\n"
        for g in (1, 5) for i in range(12) for read in (0, 1)
    )  # fmt: skip
    path = tmp_path / "m.csv"
    path.write_text("g_target_uS,g_measured_uS,timestamp,cell\n" + body)
    assert np.unique(read_measurements(path).time_s).tolist() in ([0.5], [0.0, 1.0])


MISSING = ["", "NA", "NaN", "-", "#N/A", "n/a", "#DIV/0!", "--", "---", "****", "####", "null"]


@pytest.mark.parametrize("text", MISSING)
def test_missing_values_are_left_out_and_counted(tmp_path: Path, text: str) -> None:
    lines = lines_of(plain).splitlines()
    for index in (3, 40):
        values = lines[index].split(",")
        lines[index] = ",".join([values[0], text, *values[2:]])
    path = tmp_path / "m.csv"
    path.write_text(HEADER + "\n".join(lines))
    found = read_measurements(path)
    assert len(found.measured_uS) == len(ROWS) - 2
    assert f"2 of {len(ROWS)} lines were excluded: g_measured_uS is missing in 2." in found.notes


@pytest.mark.parametrize("text", ["9.9E37", "-9.9E+37", "OVERFLOW", "inf", "O.L"])
def test_readings_over_the_range_are_left_out_and_counted(tmp_path: Path, text: str) -> None:
    lines = lines_of(plain).splitlines()
    values = lines[3].split(",")
    lines[3] = ",".join([values[0], text, *values[2:]])
    path = tmp_path / "m.csv"
    path.write_text(HEADER + "\n".join(lines))
    assert "over the range of the instrument in 1." in " ".join(read_measurements(path).notes)


def test_values_on_the_first_line_of_a_block_only_are_an_error(tmp_path: Path) -> None:
    lines = [
        ",".join(["" if i % 5 else plain(row).split(",")[0], *plain(row).split(",")[1:]])
        for i, row in enumerate(ROWS)
    ]
    path = tmp_path / "m.csv"
    path.write_text(HEADER + "\n".join(lines))
    with pytest.raises(CimsimError, match=r"lines lack a value.*write the value in every line"):
        read_measurements(path)


@pytest.mark.parametrize(
    ("big", "decimal"),
    [("86.400", ","), ("86,400", "."), ("86'400", "."), ("86 400", ","), ("86\u00a0400", ",")],
)
def test_thousands(tmp_path: Path, big: str, decimal: str) -> None:
    def row(values: np.ndarray) -> str:  # type: ignore[type-arg]
        g, measured, time, cell, _ = values
        age = big if time == 86400 else f"{time:g}"
        return f"{g:g};{measured:.10f};{age};{int(cell)}".replace(
            ".", decimal if "." not in big else "."
        )

    text = lines_of(row)
    if big == "86.400":
        text = "".join(
            ";".join(
                part if part == big else part.replace(".", ",") for part in line.split(";")
            ) + "\n"
            for line in text.splitlines()
        )  # fmt: skip
    path = tmp_path / "m.csv"
    path.write_text("g_target_uS;g_measured_uS;time_s;cell\n" + text, encoding="utf-8")
    assert_same(read_measurements(path), expected(), rtol=1e-6)


def test_a_comma_that_may_be_either_asks(tmp_path: Path) -> None:
    body = "".join(f"{g};{g},{100 + i};1\n" for g in (1, 5) for i in range(12))
    path = tmp_path / "m.csv"
    path.write_text("g_target_uS;g_measured_uS;time_s\n" + body)
    with pytest.raises(CimsimError, match=r"the comma in '1,100' may be .*--decimal , or --dec"):
        read_measurements(path)
    found = read_measurements(path, Reading(decimal=","))
    assert found.measured_uS[0] == 1.1


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("g_target_uS", "# g_target_uS"),
        lambda t: t.replace(",", " "),
        lambda t: t.replace(",", ", "),
        lambda t: t + HEADER,
        lambda t: t + "\n\n\x1a",
        lambda t: "\n" * 3 + t,
        lambda t: "Device 5;6;7\nDate, 2026-11-25\n'Probe 1/4\" pitch\n" + t,
        lambda t: t.replace("e-0", "E-0"),
        lambda t: t.replace("cell,read", "CellID,ReadNo").replace("g_measured_uS", "GMeas(uS)"),
    ],
    ids=[
        *("commented", "spaces", "padded", "again", "ctrl-z", "empty lines", "preamble", "powers"),
        "capitals",
    ],
)
def test_quirks_of_files(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = tmp_path / "m.csv"
    path.write_text(change(HEADER + lines_of(plain)))
    assert_same(read_measurements(path), expected())


@pytest.mark.parametrize(
    "write",
    [
        lambda v: f'="{v:.12g}"',
        lambda v: f"'{v:.12g}",
        lambda v: f"+{v:.12g}",
        lambda v: f"{v / 1e6:.12e} S",
        lambda v: f"{v * 1e3:.12g}nS",
        lambda v: f"{v:.12e}".replace("e", "D"),
        lambda v: f"{v:.12e}".replace("-", "\u2212"),
    ],
    ids=["formula", "apostrophe", "plus", "siemens", "nanosiemens", "fortran", "minus"],
)
def test_quirks_of_numbers(tmp_path: Path, write: Callable[[float], str]) -> None:
    path = tmp_path / "m.csv"
    body = lines_of(lambda r: f"{r[0]:g}\t{write(r[1])}\t{r[2]:g}\t{int(r[3])}")
    path.write_text("g_target_uS\tg_measured_uS\ttime_s\tcell\n" + body, encoding="utf-8")
    assert_same(read_measurements(path), expected())


def test_latin_1_and_what_is_said_of_it(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    text = "Gerät\n" + HEADER.replace("_uS", " (µS)") + lines_of(plain)
    path.write_bytes(text.encode("latin-1"))
    found = read_measurements(path)
    assert_same(found, expected())
    said = " ".join(found.notes)
    assert "Windows-1252 (Latin-1)" in said
    assert "g_target_uS is 'g_target (µS)' in uS" in said
    assert "1 line above the header (line 2) was skipped" in said


def test_big_endian_utf_16_with_and_without_a_mark(tmp_path: Path) -> None:
    data = (HEADER + lines_of(plain)).encode("utf-16-be")
    for mark in (b"", codecs.BOM_UTF16_BE):
        (tmp_path / "m.csv").write_bytes(mark + data)
        found = read_measurements(tmp_path / "m.csv")
        assert_same(found, expected())
        assert "The file was read as UTF-16." in found.notes


def test_nothing_is_said_of_a_file_in_our_own_dialect(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(HEADER + lines_of(plain))
    assert read_measurements(tmp_path / "m.csv").notes == ()


# What options are for.


@pytest.mark.parametrize(
    ("header", "reading"),
    [
        ("G set [S],G is [S],t,who", {"g_target_uS": "G set [S]", "g_measured_uS": "G is [S]"}),
        ("a,b,c,d", {"g_target_uS": "#1", "g_measured": "b", "time": "c", "cell": "d"}),
    ],
)
def test_columns_by_name_and_number(tmp_path: Path, header: str, reading: dict[str, str]) -> None:
    of_unit = 1e6 if "[S]" in header else 1.0
    body = lines_of(lambda r: f"{r[0] / of_unit:.12g},{r[1] / of_unit:.12g},{r[2]:g},{int(r[3])}")
    path = tmp_path / "m.csv"
    path.write_text(header + "\n" + body)
    columns = reading if "cell" in reading else {**reading, "cell": "who"}
    assert_same(read_measurements(path, Reading(columns=columns)), expected())


def test_a_file_without_a_header_by_the_numbers_of_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(lines_of(plain))
    with pytest.raises(CimsimError, match="the header is missing; add a line such as g_target_uS,"):
        read_measurements(path)
    numbers = {"g_target_uS": "#1", "g_measured_uS": "#2", "time_s": "#3", "cell": "#4"}
    assert_same(read_measurements(path, Reading(columns=numbers)), expected())


def test_a_cell_named_by_two_columns(tmp_path: Path) -> None:
    body = lines_of(lambda r: f"{r[0]},{r[1]:.12g},{r[2]},{int(r[3]) // 8},{int(r[3]) % 8}")
    path = tmp_path / "m.csv"
    path.write_text("g_target_uS,g_measured_uS,time_s,row,col\n" + body)
    found = read_measurements(path, Reading(columns={"cell": "row+col"}))
    assert_same(found, expected())


@pytest.mark.parametrize("unit", [{"": "nS"}, {"g_target": "nS", "g_measured_uS": "nS"}])
def test_units_by_option(tmp_path: Path, unit: dict[str, str]) -> None:
    body = lines_of(lambda r: f"{1e3 * r[0]:.12g},{1e3 * r[1]:.12g},{r[2]:g},{int(r[3])}")
    path = tmp_path / "m.csv"
    path.write_text("g_target,g_measured,time_s,cell\n" + body)
    assert_same(read_measurements(path, Reading(units=unit)), expected())


def test_other_options(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    table = (HEADER + lines_of(plain)).replace(",", ":").replace(".", ",")
    text = "g_target_uS:g_measured_uS:time_s\n" + table
    path.write_bytes(text.encode("utf-16-le"))
    reading = Reading(delimiter=":", decimal=",", encoding="utf-16-le", skip_rows=1)
    assert_same(read_measurements(path, reading), expected())


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        ({"delimiter": "ab"}, "--delimiter 'ab' must be one character"),
        ({"decimal": "x"}, "--decimal 'x' must be . or ,"),
        (
            {"delimiter": ",", "decimal": ","},
            "--delimiter and --decimal must differ, but both are ','",
        ),
        ({"skip_rows": -1}, "--skip-rows -1 must be 0 or more"),
        ({"date_order": "ydm"}, "--date-order 'ydm' must be one of dmy, mdy, ymd"),
        ({"time_tolerance": "soon"}, "--time-tolerance 'soon' must be a share such as 10%"),
        ({"time_tolerance": 0.1}, "--time-tolerance '0.1' must be a share such as 10%"),
        ({"encoding": "rot13"}, "cannot be read with --encoding rot13"),
        ({"encoding": "no-such"}, "cannot be read with --encoding no-such"),
        ({"columns": {"g_tarjet": "a"}}, "--column g_tarjet: unknown column; use one of"),
        ({"columns": {"time_s": "when"}}, "--column time_s: no such column: 'when'; the file h"),
        ({"columns": {"time_s": "#9"}}, "--column time_s: no such column: '#9'"),
        ({"units": {"time_s": "ohm"}}, "--unit time_s=ohm: unknown unit; use one of ns, us, ms, s"),
        ({"units": {"nonsense": "S"}}, "--unit nonsense=S: no such column: 'nonsense'"),
        ({"units": {"": "ohm"}}, "--unit ohm: must be one of S, mS, uS"),
    ],
)
def test_senseless_options_get_one_clear_sentence(
    tmp_path: Path, reading: dict[str, object], message: str
) -> None:
    path = tmp_path / "m.csv"
    path.write_text(HEADER + lines_of(plain))
    with pytest.raises(CimsimError) as caught:
        read_measurements(path, Reading(**reading))  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("time", "reading", "message"),
    [
        ("3600", {"date_order": "dmy"}, "--date-order applies to dates, but 'time_s' contains num"),
        (
            "2026-04-13 10:00",
            {"units": {"time_s": "ms"}},
            "--unit time_s applies to numbers, but 'time_s' contains dates or times of day; leave",
        ),
        (
            "3600",
            {"columns": {"programmed": "other"}},
            "--column programmed applies to points in time, but 'time_s' contains ages; leave it",
        ),
        (
            "2026-04-13 10:00",
            {"columns": {"date": "other"}},
            "--column date applies to times of day, but 'time_s' contains none; leave it out",
        ),
    ],
)
def test_options_of_times_that_the_file_leaves_without_effect(
    tmp_path: Path, time: str, reading: dict[str, object], message: str
) -> None:
    path = tmp_path / "m.csv"
    rows = "".join(f"{g},{g + i / 100},{time},c{i},{time}\n" for g in (1, 5) for i in range(12))
    path.write_text("g_target_uS,g_measured_uS,time_s,cell,other\n" + rows)
    read_measurements(path)
    with pytest.raises(CimsimError) as caught:
        read_measurements(path, Reading(**reading))  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# Faults all at once.


def test_every_fault_is_listed_with_its_line_up_to_a_limit(tmp_path: Path) -> None:
    lines = lines_of(plain).splitlines()
    for index in range(57):
        lines[index] = lines[index].replace(",", ",bad", 1)
    lines[60] = "1,2"
    path = tmp_path / "m.csv"
    path.write_text(HEADER + "\n".join(lines))
    with pytest.raises(CimsimError) as caught:
        read_measurements(path)
    told = str(caught.value).splitlines()
    assert len(told) == 21
    assert told[0].startswith(f"{path}:2: g_measured_uS must be a number, not 'bad")
    assert told[-1] == f"{path}: and 38 more"


def test_faults_of_several_kinds_are_listed_together(tmp_path: Path) -> None:
    lines = lines_of(plain).splitlines()
    lines[1], lines[4], lines[6] = "1,2", "x,1,1,c,0", "2,1,yesterday,c,0"
    path = tmp_path / "m.csv"
    path.write_text(HEADER + "\n".join(lines))
    with pytest.raises(CimsimError) as caught:
        read_measurements(path)
    assert [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()] == [
        "3: the line must have 5 values, not 2",
        "6: g_target_uS must be a number, not 'x'",
        "8: time_s must be a number, not 'yesterday'",
    ]


def test_all_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("alpha,beta\n1,2\n")
    with pytest.raises(CimsimError) as caught:
        read_measurements(path)
    told = str(caught.value).splitlines()
    for name, line in zip(("g_target_uS", "g_measured_uS", "time_s"), told, strict=True):
        assert f"the column {name} is missing; the file has alpha, beta; choose" in line
        assert line.endswith(f'--column {name}="ITS HEADER"')


@pytest.mark.parametrize("other", ["R measured [kOhm]", "r_ohm", "Current (A)", "I [nA]", "V / V"])
def test_no_column_of_another_quantity_or_that_is_taken_is_suggested(
    tmp_path: Path, other: str
) -> None:
    path = tmp_path / "m.csv"
    path.write_text(HEADER.replace("g_measured_uS", other) + lines_of(plain))
    with pytest.raises(CimsimError) as caught:
        read_measurements(path)
    told = str(caught.value)
    assert "the column g_measured_uS is missing" in told
    assert "did you mean" not in told


@pytest.mark.parametrize("other", ["R measured [kOhm]", "r_ohm", "Current (A)", "I [nA]"])
def test_what_is_no_conductance_is_not_taken_for_one(tmp_path: Path, other: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(HEADER.replace("g_measured_uS", other) + lines_of(plain))
    with pytest.raises(
        CimsimError, match="but g_measured_uS is a conductance; convert it to siemens"
    ):
        read_measurements(path, Reading(columns={"g_measured_uS": other}))


@pytest.mark.parametrize("target", ["G target [%]", "g_target (%)", "g_target_%", "target / %"])
def test_percent_is_no_conductance(tmp_path: Path, target: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(HEADER.replace("g_target_uS", target) + lines_of(plain))
    with pytest.raises(CimsimError, match="is in %, but g_target_uS is a conductance; convert it"):
        read_measurements(path)


def test_a_row_of_units_that_are_no_siemens(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    header = "g_target,conductance,time,cell,read\nuS,kOhm,s,,\n"
    path.write_text(header + lines_of(plain))
    with pytest.raises(CimsimError, match="'conductance' is in kOhm, but g_measured_uS is a cond"):
        read_measurements(path)


@pytest.mark.parametrize("lines", [[5], [5, 9], [5, 9, 20]])
def test_a_quote_that_is_never_closed_swallows_nothing(tmp_path: Path, lines: list[int]) -> None:
    """Two of them are a pair for a CSV reader, and the lines between are one value."""
    rows = lines_of(lambda r: f"{plain(r[:3])},c{int(r[3])},{int(r[4])}").splitlines()
    for line in lines:
        rows[line] = rows[line].replace(",c", ',"c')
    path = tmp_path / "m.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    with pytest.raises(CimsimError, match=r"m\.csv:7: a quoted value that starts here"):
        read_measurements(path)


def test_decimal_commas_between_commas_are_one_fault(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(HEADER + lines_of(lambda r: f"{int(r[0])},1,5,{r[2]:g},{int(r[3])},0"))
    with pytest.raises(CimsimError, match="commas separate values and seem to be decimal marks"):
        read_measurements(path)


def test_a_header_with_another_unit_than_the_row_below_it_asks(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(HEADER + "S,uS,s,,\n" + lines_of(plain))
    with pytest.raises(
        CimsimError, match="'g_target_uS' has another unit, S, in the row below its head"
    ):
        read_measurements(path)


# Slips that numbers give away.


def test_milliseconds_for_seconds_are_noticed(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[:, 2] *= 1e3
    path = tmp_path / "m.csv"
    path.write_text(HEADER + lines_of(plain, rows))
    found = read_measurements(path)
    assert "if they are milliseconds, use --unit time_s=ms" in " ".join(found.notes)
    assert_same(read_measurements(path, Reading(units={"time_s": "ms"})), expected())
    assert read_measurements(path, Reading(units={"time_s": "s"})).notes == ()


def test_a_table_pasted_twice_counts_once(tmp_path: Path) -> None:
    unlabeled = "g_target_uS,g_measured_uS,time_s,cell\n"
    body = lines_of(lambda r: ",".join(f"{v:.12g}" for v in r[:4]))
    lines = body.splitlines(keepends=True)
    for copied in (
        body + body,
        "".join(line + line for line in lines),
        body + "".join(lines[20:40]),
    ):
        path = tmp_path / "m.csv"
        path.write_text(unlabeled + copied)
        found = read_measurements(path)
        number = copied.count("\n") - len(lines)
        assert f"{number} lines repeat others and were excluded." in found.notes
        assert_same(found, expected())


def test_a_read_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    body = lines_of(plain)
    path = tmp_path / "m.csv"
    path.write_text(HEADER + body + body.splitlines()[7] + "\n")
    found = read_measurements(path)
    assert "1 line repeats another line and was excluded." in found.notes
    assert_same(found, expected())


def test_equal_reads_of_a_coarse_instrument_are_not_copies(tmp_path: Path) -> None:
    body = "".join(f"{g},{g},1,c{g}-{i}\n" for g in (1, 5) for i in range(10) for _ in range(3))
    body += "1,1,1,c1-0\n"
    path = tmp_path / "m.csv"
    path.write_text("g_target_uS,g_measured_uS,time_s,cell\n" + body)
    assert len(read_measurements(path).measured_uS) == 61


def test_duplicated_columns_of_equal_content_are_one(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(HEADER.strip() + ",time_s\n" + lines_of(lambda r: f"{plain(r)},{r[2]:.12g}"))
    assert_same(read_measurements(path), expected())


# Times that differ a little.


def test_times_that_jitter_are_one_age(tmp_path: Path) -> None:
    rows = ROWS.copy()
    jitter = np.random.default_rng(0).uniform(0.97, 1.03, len(rows))
    rows[:, 2] *= jitter
    path = tmp_path / "m.csv"
    path.write_text(HEADER + lines_of(plain, rows))
    found = read_measurements(path)
    assert "Similar times became one age" in " ".join(found.notes)
    np.testing.assert_allclose(np.unique(found.time_s), truth.TIMES, rtol=0.02)
    assert fit_device(found).read_sigma_uS is not None
    with pytest.raises(CimsimError, match="--time-tolerance"):
        read_measurements(path, Reading(time_tolerance=0))


def test_ages_that_are_apart_stay_apart(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[:, 2] = np.choose(np.searchsorted(truth.TIMES, rows[:, 2]), [1.0, 1.5, 2.0])
    path = tmp_path / "m.csv"
    path.write_text(HEADER + lines_of(plain, rows))
    assert np.unique(read_measurements(path).time_s).tolist() == [1.0, 1.5, 2.0]
    found = read_measurements(path, Reading(time_tolerance="60%"))
    assert len(np.unique(found.time_s)) == 2
    found = read_measurements(path, Reading(time_tolerance="1s"))
    assert len(np.unique(found.time_s)) == 1


def test_a_slow_series_is_not_one_age(tmp_path: Path) -> None:
    ages = 1.2 ** np.arange(12)
    body = "".join(
        f"{g},{g + i / 100},{t:.6g},c{g}-{i}\n" for g in (1, 5) for i in range(10) for t in ages
    )
    path = tmp_path / "m.csv"
    path.write_text("g_target_uS,g_measured_uS,time_s,cell\n" + body)
    assert len(np.unique(read_measurements(path).time_s)) == 12
