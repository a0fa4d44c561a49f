"""One page that needs nothing else: well formed, small, in both languages, with what the other forms say."""

import dataclasses
import html.parser
import io
import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from sample_advice import sample_advice, write_sample_run

from reports import html as page
from reports import markdown, terminal
from reports.blocks import Bullets, Code, Document, Figure, Heading, Paragraph, Picture, Table
from reports.document import build_document
from reports.run import read_run, source_json
from reports.view import RunView

LANGS = ("en", "zh")
VOID = {"meta", "input", "img", "br", "link", "hr", "use", "path"}


class Parsed(html.parser.HTMLParser):
    """Every element of a page; complains about what a browser would silently mend."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open[-1] == tag, f"</{tag}> closes <{self.open[-1:]}>"
            self.open.pop()

    def handle_data(self, text: str) -> None:
        if not {"style", "svg"} & set(self.open):
            self.words.append(text)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def write_picture(path: Path, side: int = 64) -> None:
    noise = Image.effect_noise((side, side), 90).convert("RGB")
    noise.save(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    folder = write_sample_run(tmp_path_factory.mktemp("runs") / "run-01")
    for name in ("sample-1.png", "sample-2.png"):
        write_picture(folder / "samples" / name)
    return read_run(folder)


@pytest.fixture(scope="module")
def text(run: RunView) -> str:
    return page.whole_page(run.advice, run, "zh")


def said(document: Document) -> list[str]:
    """Every text of a report, as bare words."""
    found = [document.title, document.subtitle]
    for section in document.sections:
        found.append(section.title)
        for block in section.blocks:
            if isinstance(block, (Heading, Code)):
                found.append(block.text)
            elif isinstance(block, Picture):
                found.append(block.caption)
            lines = []
            if isinstance(block, Paragraph):
                lines = [block.line]
            elif isinstance(block, Bullets):
                lines = [item.line for item in block.items]
            elif isinstance(block, Table):
                found += [column.title for column in block.columns]
                lines = [line for row in block.rows for line in row]
            found += [item.text if isinstance(item, Figure) else item for line in lines for item in line]
    return [squeezed(one) for one in found if squeezed(one)]


def squeezed(text: str) -> str:
    return re.sub(r"[\s\\*]+", "", text)


@pytest.mark.parametrize("lang", LANGS)
def test_terminal_markdown_and_page_say_the_same(run: RunView, lang: str) -> None:
    for advice, view in ((run.advice, run), (sample_advice(), None), (None, run)):
        document = build_document(advice, view, lang)
        wide = squeezed(terminal.printed([terminal.render(document)], columns=100))
        pasted = squeezed(markdown.render(document))
        shown = squeezed("".join(Parsed(page.render([document])).words))
        for one in said(document):
            assert one in pasted, one
            assert one in shown, one
            if len(one) < 12:  # longer ones may be broken over two lines of a cell
                assert one in wide, one


def test_the_page_is_well_formed_and_has_both_languages(text: str, run: RunView) -> None:
    parsed = Parsed(text)
    articles = [attributes["lang"] for attributes in parsed.attributes("article")]
    assert articles == ["zh-Hans", "en"]
    shown = squeezed("".join(parsed.words))
    for lang in LANGS:
        assert all(one in shown for one in said(build_document(run.advice, run, lang)))
    checked = [attributes["id"] for attributes in parsed.attributes("input") if "checked" in attributes]
    assert checked == ["show-zh"]


def test_ids_are_unique_and_links_lead_to_them(text: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    targets = re.findall(r'href="#([^"]+)"', text) + re.findall(r"url\(#([^)]+)\)", text)
    assert targets and set(targets) <= set(ids)


def test_nothing_is_loaded_from_anywhere(text: str) -> None:
    parsed = Parsed(text)
    for tag, attributes in parsed.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/")), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style and "url(" not in style[1] and "@import" not in style[1]
    policy = next(one["content"] for one in parsed.attributes("meta") if "http-equiv" in one)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_headings_are_in_order_and_pictures_have_words(text: str) -> None:
    parsed = Parsed(text)
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(deeper - shallower <= 1 for shallower, deeper in itertools.pairwise(levels))
    drawings = parsed.attributes("svg") + parsed.attributes("img")
    assert len(drawings) >= 2 * (4 + 2)
    assert all(one.get("aria-label") or one.get("alt") for one in drawings)


def test_charts_have_real_text_and_the_colours_of_the_page(text: str) -> None:
    for lang, word in (("zh", "单次批量"), ("en", "Micro-batch")):
        assert re.search(rf'id="{lang}-memory-[^"]*"', text)
        assert any(word in one for one in re.findall(r"<text.*?</text>", text, re.DOTALL))
    used, defined = set(re.findall(r"var\(--([\w-]+)\)", text)), set(re.findall(r"--([\w-]+):", text))
    assert used <= defined
    assert not re.search(r"#a1000|#01010|#02020", text)


def test_every_figure_of_a_chart_is_a_claim_of_the_records(run: RunView) -> None:
    document = build_document(run.advice, run, "en")
    charts = {chart.id: chart for chart in document.charts()}
    assert charts.keys() == {"memory", "speed", "learning_rate", "loss"}
    measured = next(one for one in charts["memory"].series if one.form == "points")
    assert [point.claim.value for point in measured.points] == [
        one.peak_reserved_bytes for one in sample_advice().measurements if one.peak_reserved_bytes
    ]
    bars = [one for one in charts["memory"].series if one.form == "bars"]
    for k, point in enumerate(measured.points):
        assert sum(one.points[k].claim.value or 0 for one in bars) == point.claim.value  # the stack ends at the peak
    for chart in charts.values():
        assert all(point.claim.source for series in chart.series for point in series.points)


def test_a_card_that_is_absent_has_a_chart_of_predictions() -> None:
    memory = sample_advice().memory
    parts = dataclasses.replace(memory.breakdown, context_bytes=memory.predicted[0].reserved_bytes)
    advice = sample_advice(measurements=(), memory=dataclasses.replace(memory, breakdown=parts))
    (chart,) = (one for one in build_document(advice, None, "en").charts() if one.id == "memory")
    bases = {point.claim.basis for series in chart.series for point in series.points if series.form != "level"}
    assert bases == {"predicted"}
    assert "context" not in [series.role for series in chart.series]  # it would not fit under the predicted peak
    assert (
        sum(one.points[0].claim.value or 0 for one in chart.series if one.form == "bars")
        == memory.predicted[0].reserved_bytes
    )


def test_causes_that_add_up_to_more_than_the_peak_are_not_stacked() -> None:
    memory = sample_advice().memory
    parts = dataclasses.replace(memory.breakdown, weights_bytes=10 * memory.predicted[0].reserved_bytes)
    advice = sample_advice(memory=dataclasses.replace(memory, breakdown=parts))
    (chart,) = (one for one in build_document(advice, None, "en").charts() if one.id == "memory")
    assert not [series for series in chart.series if series.form == "bars"]


def test_records_are_folded_in_and_cannot_break_the_page(run: RunView) -> None:
    advice = dataclasses.replace(sample_advice(), elapsed_s=1.0)
    evil = dataclasses.replace(
        advice, workload=dataclasses.replace(advice.workload, name="</pre><script>alert(1)</script>")
    )
    text = page.render([build_document(evil, None, "en")], records=source_json(evil, None))
    parsed = Parsed(text)
    assert not parsed.attributes("script")
    assert '"schema": "cfgadvise.report/1"' in "".join(parsed.words)


def test_large_grids_are_made_small_enough(tmp_path: Path) -> None:
    folder = write_sample_run(tmp_path / "run-01")
    for k in range(1, 9):
        write_picture(folder / "samples" / f"sample-{k}.png", side=1200)
    view = read_run(folder)
    text = page.whole_page(view.advice, view, "en")
    assert sum(path.stat().st_size for path in (folder / "samples").iterdir()) > 12_000_000
    assert len(text.encode()) < 3_000_000
    sources = [one["src"] or "" for one in Parsed(text).attributes("img")]
    assert len(sources) == 12 and all(one.startswith("data:image/jpeg;base64,") for one in sources)


def test_a_torn_picture_is_said_to_be_unreadable(tmp_path: Path) -> None:
    folder = write_sample_run(tmp_path / "run-01")
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(stream, "PNG")
    (folder / "samples" / "sample-1.png").write_bytes(stream.getvalue()[:500])
    (folder / "samples" / "sample-2.png").unlink()
    (folder / "evaluation.json").unlink()  # it names pictures of its own
    view = read_run(folder)
    text = page.render([build_document(view.advice, view, "en")], pictures=view.folder)
    assert text.count("This picture cannot be read.") == 1
    assert not Parsed(text).attributes("img")


def test_a_long_log_stays_small(tmp_path: Path) -> None:
    folder = write_sample_run(tmp_path / "run-01")
    line = (folder / "metrics.jsonl").read_text().splitlines()[0]
    (folder / "metrics.jsonl").write_text((line + "\n") * 20_000)
    view = read_run(folder)
    assert len(view.train) == 20_000
    assert len(page.whole_page(view.advice, view, "en")) < 1_000_000


@pytest.mark.parametrize("keep", [(), ("metrics.jsonl",), ("config.toml",), ("events.jsonl", "metrics.jsonl")])
def test_a_killed_run_makes_a_page(tmp_path: Path, keep: tuple[str, ...]) -> None:
    folder = write_sample_run(tmp_path / "run-01")
    for file in [*folder.glob("*.json*"), folder / "config.toml"]:
        if file.name not in keep:
            file.unlink()
    with (folder / "metrics.jsonl").open("a") as log:
        log.write('{"kind": "train", "samples": 16')
    view = read_run(folder)
    for lang in LANGS:
        Parsed(page.whole_page(view.advice, view, lang))


def test_a_notebook_shows_a_run_in_a_frame_of_its_own(run: RunView) -> None:
    frame = Parsed(run._repr_html_()).attributes("iframe")
    assert len(frame) == 1
    assert (frame[0]["srcdoc"] or "").startswith("<!DOCTYPE html>")


def test_a_cell_of_a_notebook_draws_where_its_window_is_not_installed(run: RunView) -> None:
    code = (
        "import sys; from pathlib import Path; from reports.html import whole_page; from reports.run import read_run;"
        "run = read_run(Path(sys.argv[1])); assert '<svg' in whole_page(run.advice, run, 'en')"
    )
    environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(run.folder)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_page_is_made_without_torch_and_soon(run: RunView) -> None:
    code = (
        "import sys, time; from pathlib import Path; from reports.run import read_run; from reports import html\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"view = read_run(Path({str(run.folder)!r})); html.whole_page(view.advice, view, 'en')\n"
        "print('torch' in sys.modules)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
    assert time.monotonic() - started < 60


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_stands_out_from_its_ground(scheme: int, text: str) -> None:
    css = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert css
    blocks = re.findall(r":root \{(.*?)\n\s*\}", css[1], re.DOTALL)
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[scheme]))
    words = ("ink", "ink-soft", "link", "measured", "predicted", "rule", "user", "good", "bad", "warn")
    for ground in ("paper", "panel", "chosen"):
        for word in words:
            light, dark = sorted((luminance(colors[ground]), luminance(colors[word])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (word, ground)
    for mark in ("c-main", "c-other", "c-limit"):
        light, dark = sorted((luminance(colors["paper"]), luminance(colors[mark])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 2.7, mark


def test_an_advice_of_another_version_is_told_and_left_out(tmp_path: Path) -> None:
    folder = write_sample_run(tmp_path / "run-01")
    advice = (folder / "advice.json").read_text(encoding="utf-8")
    (folder / "advice.json").write_text(advice.replace("cfgadvise.advice/1", "cfgadvise.advice/0"), encoding="utf-8")
    view = read_run(folder)
    assert view.advice is None
    assert "advice.json" in squeezed("".join(Parsed(page.whole_page(view.advice, view, "en")).words))


def test_numbers_are_not_broken_over_lines(text: str) -> None:
    assert "1\u00a0600" in text
    prose = re.sub(r"<(pre|style|svg).*?</\1>", "", text, flags=re.DOTALL)
    assert not re.search(r">[^<]*\b\d{1,3} \d{3}\b(?! \d)[^<]*</(p|li|h3)>", prose)
