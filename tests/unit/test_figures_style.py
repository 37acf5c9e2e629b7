"""What all figures share: SVG that a page can colour, and files that stand alone."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from ctxsim.reporting.figures.bars import Bar, bars_figure
from ctxsim.reporting.figures.front import CHOSEN, FRONT, OTHER, Spot, front_figures
from ctxsim.reporting.figures.style import COLORS, INK, SOFT, page_colors, standalone, svg


def drawn() -> Figure:
    return bars_figure([Bar("a & b", 3.0, "3 <b>", INK), Bar("c", 1.0, "1", SOFT)], "USD")


def test_same_figure_same_bytes_and_another_name_other_ids() -> None:
    one, again, other = (svg(drawn(), name, "Bars.") for name in ("one", "one", "other"))
    assert one == again
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text in (one, other):
        used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
        assert used == set(re.findall(r' id="([^"]+)"', text))


def test_what_figures_say_is_escaped() -> None:
    text = svg(drawn(), "one", 'said "so" <b>')
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == 'said "so" <b>'
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a & b", "3 <b>", "USD"} <= set(words)
    assert "font-family" not in text
    assert "<metadata" not in text


def test_every_colour_is_the_pages() -> None:
    text = svg(drawn(), "one", "Bars.")
    assert not re.findall(r"(?:fill|stroke): #", text)
    light, dark = page_colors(dark=False), page_colors(dark=True)
    for name, (on_paper, on_screen) in COLORS.items():
        assert f"--fig-{name}: {on_paper}" in light
        assert f"--fig-{name}: {on_screen}" in dark
    assert len(set(COLORS.values())) == len(COLORS)


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2.1)."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", ["text", "axis", "ink", "accent"])
def test_words_in_figures_can_be_read(name: str) -> None:
    """A contrast of 4.5 to 1 with either page (WCAG 2.1, level AA)."""
    for color, paper in zip(COLORS[name], ("#ffffff", "#12181f"), strict=True):
        high, low = sorted((luminance(color), luminance(paper)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_standalone_follows_the_readers_screen() -> None:
    text = standalone(svg(drawn(), "one", "Bars."))
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    assert "prefers-color-scheme: dark" in text
    assert f"--fig-ink: {COLORS['ink'][1]}" in text


def test_bars_begin_at_zero_and_points_do_where_there_is_none() -> None:
    bars = [Bar("a", 3.0, "3", INK), Bar("b", 300.0, "300", SOFT)]
    plain = bars_figure(bars, "USD").axes[0]
    assert plain.get_xlim()[0] == 0
    assert [patch.get_width() for patch in plain.patches] == [3.0, 300.0]
    marked = bars_figure(bars, "USD", log=True, mark=(2.0, "found")).axes[0]
    assert not marked.patches
    low, high = marked.get_xlim()
    assert low < 2.0 < 300.0 < high
    assert "found" in [text.get_text() for text in marked.texts]


def test_names_of_fleets_do_not_overlap() -> None:
    spots = [Spot(f"fleet {i}", 10.0 + i / 10, 5.0 + i / 100, None, standing) for i, standing in
             enumerate((CHOSEN, FRONT, FRONT, OTHER))]  # fmt: skip
    figures = front_figures(spots, 95.0, {"ttft_s": 20.0, "tpot_s": 0.1})
    assert set(figures) == {"ttft_s"}
    figure = figures["ttft_s"]
    figure.canvas.draw()
    names = [text for text in figure.axes[0].texts if text.get_text().startswith("fleet")]
    assert [text.get_text() for text in names] == ["fleet 0", "fleet 1", "fleet 2"]
    boxes = [text.get_window_extent() for text in names]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
