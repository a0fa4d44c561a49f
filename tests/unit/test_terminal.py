"""A terminal of 80 columns holds the report in both languages, in any encoding, with or without colour."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from sample_advice import CPU, HOST, P100, sample_advice, write_sample_run

from advisor.records import Benchmark, Check, Probe
from reports import terminal
from reports.blocks import Column, Document, Lang, Section, Table
from reports.document import build_document
from reports.run import read_run


def report(lang: Lang, tmp_path: Path) -> terminal.TerminalReport:
    folder = tmp_path / "run-01"
    run = read_run(folder if folder.exists() else write_sample_run(folder))
    return terminal.render(build_document(sample_advice(), run, lang))


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("columns", [80, 100, 120])
def test_no_line_is_wider_than_the_terminal(lang: Lang, columns: int, tmp_path: Path) -> None:
    lines = terminal.printed([report(lang, tmp_path)], columns=columns).splitlines()
    assert [line for line in lines if cell_len(line) > columns] == []
    assert len(lines) > 100


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_cells_of_a_table_are_aligned_in_80_columns(lang: Lang, tmp_path: Path) -> None:
    lines = terminal.printed([report(lang, tmp_path)]).splitlines()
    rules = [index for index, line in enumerate(lines) if set(line.strip()) == {"-"}]
    assert len(rules) > 8
    for index in rules:
        width = cell_len(lines[index])
        assert cell_len(lines[index - 1]) == width
        assert cell_len(lines[index + 1]) == width


def test_rows_of_measurements_stay_on_one_line(tmp_path: Path) -> None:
    for lang in ("en", "zh"):
        text = terminal.printed([report(lang, tmp_path)])
        row = next(line for line in text.splitlines() if line.startswith("16 × 1"))
        assert "1.46 GiB" in row and "160 ms" in row and "100" in row


def test_chinese_lines_never_begin_with_a_closing_mark(tmp_path: Path) -> None:
    lines = terminal.printed([report("zh", tmp_path)]).splitlines()
    assert [line for line in lines if line.strip()[:1] in tuple("，。；：、）”！？")] == []


def test_long_chinese_is_broken_between_characters_not_before_a_whole_clause(tmp_path: Path) -> None:
    lines = terminal.printed([report("zh", tmp_path)]).splitlines()
    first = next(line for line in lines if line.startswith("扩散模型的 loss"))
    assert cell_len(first) > 70


@pytest.mark.parametrize("encoding", ["ascii", "gbk", "latin-1"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_streams_of_other_encodings_are_written_without_failing(lang: Lang, encoding: str, tmp_path: Path) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    Console(file=stream, width=80).print(report(lang, tmp_path))
    stream.flush()


def test_ascii_loses_no_figure_of_the_english_report(tmp_path: Path) -> None:
    text = terminal.printed([report("en", tmp_path)], encoding="ascii")
    assert "?" not in text.replace("? ", "").replace("?\n", "").replace("falling?", "")
    assert "16 x 1 = 16" in text
    assert "5e-5 [R] -> 1e-4 [R] -> 2e-4 [R]" in text


def test_gbk_keeps_the_whole_chinese_report(tmp_path: Path) -> None:
    gbk = terminal.printed([report("zh", tmp_path)], encoding="gbk")
    assert gbk == terminal.printed([report("zh", tmp_path)])


def test_colour_only_adds_to_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    plain, coloured = io.StringIO(), io.StringIO()
    Console(file=plain, width=80, force_terminal=True).print(report("en", tmp_path))
    monkeypatch.delenv("NO_COLOR")
    Console(file=coloured, width=80, force_terminal=True, color_system="standard").print(report("en", tmp_path))
    assert "\x1b[32m" in coloured.getvalue()
    assert "\x1b[32m" not in plain.getvalue() and "[M]" in plain.getvalue()


def test_every_basis_is_explained_at_the_top(tmp_path: Path) -> None:
    head = terminal.printed([report("en", tmp_path)]).splitlines()[:5]
    assert all(mark in "\n".join(head) for mark in ("[M]", "[P]", "[R]", "[U]"))


# ---- probe --------------------------------------------------------------------------------------

CHECK = Check(
    id="ECC", severity="warning", device=0, message="7 memory errors could not be corrected", fix="sudo reboot",
    values={"count": 7, "nvml_index": 0},
)  # fmt: skip


def probe_text(lang: Lang, **changes: object) -> str:
    probe = Probe(host=HOST, devices=(P100, CPU), checks=(CHECK,))
    return terminal.printed([terminal.render_probe(dataclasses.replace(probe, **changes), lang)])


def test_probe_shows_devices_and_checks() -> None:
    english, chinese = probe_text("en"), probe_text("zh")
    for text in (english, chinese):
        assert "Tesla P100-PCIE-16GB" in text and "cuda:0" in text and "15.0 GiB" in text and "31/250 W" in text
        assert all(cell_len(line) <= 80 for line in text.splitlines())
    assert "7 memory errors" in english and "sudo reboot" in english
    assert "7 个无法纠正的显存错误" in chinese


def test_probe_says_unknown_and_never_0_for_what_could_not_be_read() -> None:
    assert "unknown" in probe_text("en", devices=(CPU,))
    assert "0 B" not in probe_text("en", devices=(CPU,))


def test_probe_of_a_cpu_speaks_of_memory_and_shows_its_benchmark() -> None:
    bench = Benchmark(fp32_tflops=0.123, copy_gb_s=9.87, elapsed_s=1.0)
    text = probe_text("zh", devices=(dataclasses.replace(CPU, benchmark=bench),), checks=())
    assert "内存" in text and "显存" not in text
    assert "0.123" in text and "9.87" in text


def test_a_check_that_the_catalogue_does_not_know_keeps_its_english() -> None:
    unknown = dataclasses.replace(CHECK, id="NEW", message="Something new.", fix="do this")
    text = probe_text("zh", checks=(unknown,))
    assert "Something new." in text and "do this" in text


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_a_table_that_is_too_wide_goes_on_below_and_loses_nothing(columns: int) -> None:
    titles = ("Metric of a run", "Predicted", "Interval", "Actual", "Change", "Inside")
    cells = ("Total time of it all", "1 min 11 s [P]", "1 min 07 s - 1 min 18 s", "1 min 04 s", "-9.2 %", "no")
    table = Table(
        columns=tuple(Column(title=title, numeric=0 < k < 5) for k, title in enumerate(titles)),
        rows=(tuple((cell,) for cell in cells), tuple((f"{cell}!",) for cell in cells)),
    )
    section = Section(id="x", title="x", blocks=(table,))
    document = Document(lang="en", title="t", subtitle="s", legend=(), marks={}, sections=(section,))
    text = terminal.printed([terminal.render(document)], columns=columns)
    assert max(map(cell_len, text.splitlines())) <= columns
    for cell in cells[1:]:
        assert cell in text and f"{cell}!" in text
    assert (text.count("Metric") > 1) == (columns < 100)
