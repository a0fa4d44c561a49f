"""An advice as the last value of a cell: a table with the basis of every figure, and nothing to load."""

import dataclasses
import subprocess
import sys

from sample_advice import claim, sample_advice


def test_every_option_stands_in_the_table_with_its_bases():
    html = sample_advice()._repr_html_()
    assert "16 × 1 = 16, learning rate 1e-4" in html
    assert html.count("<tr>") == 1 + len(sample_advice().options)
    assert ">160 ms <small>measured</small>" in html and "<small>predicted</small>" in html
    assert html.count("<th>") == 2 * 7  # the head and the recommended row


def test_unknown_is_said_and_names_are_escaped():
    best = dataclasses.replace(sample_advice().recommended, run_s=claim(None, basis="predicted"))
    device = dataclasses.replace(sample_advice().device, name="<script>")
    html = sample_advice(recommended=best, options=(best,), device=device)._repr_html_()
    assert "<td>unknown</td>" in html or "<th>unknown</th>" in html
    assert "<script>" not in html


def test_it_needs_neither_the_reports_nor_a_library():
    code = "import sys; import advisor.notebook; print([m for m in ('reports', 'jinja2', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
