"""The heat map of runs and lists: cells where they belong, text that can be read, the best in bold."""

import re
from pathlib import Path

from timbre.evaluation.heat_map import Rate, plot_heat_map


def texts(svg: str) -> list[tuple[str, float, float, str]]:
    """Words of an SVG with their place (to the right, down) and style."""
    found = re.findall(r'<text style="([^"]*)" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)<', svg)
    return [(word, float(x), float(y), style) for style, x, y, word in found]


def test_cells_are_where_they_belong(tmp_path: Path) -> None:
    eers = {
        ("z", "eval_noise10"): 0.2011,
        ("z", "eval_noise5"): 0.0312,
        ("a", "eval_noise10"): 0.1013,
        ("a", "eval_noise5"): 0.4014,
        ("a", "eval_gsm"): 0.0,
    }
    rates = [Rate(run, name, eer, (eer / 2, 2 * eer) if eer else None) for (run, name), eer in eers.items()]
    plot_heat_map(rates, [tmp_path / "map.svg", tmp_path / "map.png"], "cosine")
    svg = (tmp_path / "map.svg").read_text()
    place = {word: (x, y) for word, x, y, _ in texts(svg)}
    style = {word: style for word, _, _, style in texts(svg)}
    assert place["z"][1] < place["a"][1]  # rows as given
    assert place["eval_gsm"][0] < place["eval_noise5"][0] < place["eval_noise10"][0]  # 5 before 10
    for (run, name), eer in eers.items():
        x, y = place[f"{100 * eer:.2f}"]
        assert abs(y - place[run][1]) < 15 and abs(x - place[name][0]) < 30
    bold = {word for word in style if "font-weight: 700" in style[word]}
    assert bold == {"3.12", "10.13", "0.00"}
    assert "[1.56, 6.24]" in place and "[20.07, 80.28]" in place
    first = (tmp_path / "map.png").read_bytes(), svg
    plot_heat_map(rates, [tmp_path / "map.svg", tmp_path / "map.png"], "cosine")
    assert ((tmp_path / "map.png").read_bytes(), (tmp_path / "map.svg").read_text()) == first
