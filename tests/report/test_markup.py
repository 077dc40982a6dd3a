"""HTML that is safe by construction, and the Markdown that the steps write."""

import pytest

from timbre.report.markup import Html, cell, inline, join, markdown, table, tag


def test_what_is_not_html_is_escaped_once() -> None:
    assert tag("p", "<b>", Html("<i></i>"), class_='"x"') == '<p class="&quot;x&quot;">&lt;b&gt;<i></i></p>'
    assert tag("td", tag("b", "a & b"), data_sort=None, open=True, hidden=False) == "<td open><b>a &amp; b</b></td>"
    assert join(["<", Html("<hr>"), ">"], " & ") == "&lt; & <hr> & &gt;"
    assert tag("img", alt="'") == '<img alt="&#x27;">'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**20.45** [18.70, 21.62]", "<strong>20.45</strong> [18.70, 21.62]"),
        ("*statistics* (baseline)", "<em>statistics</em> (baseline)"),
        ("[a<b](x.png), ![c](d.png)", "a&lt;b, c"),
        ("`a*b*c` & d", "<code>a*b*c</code> &amp; d"),
        ("one<br>two <br onclick=x>", "one<br>two &lt;br onclick=x&gt;"),
        ("2 * 3 = 6", "2 * 3 = 6"),
        ("a_b_c", "a_b_c"),
    ],
)
def test_markdown_of_a_line(text: str, shown: str) -> None:
    assert inline(text) == shown


def test_markdown_of_a_page() -> None:
    text = (
        "# Head\n\nTwo\nlines.\n\n| n | x % |\n| --- | ---: |\n| a\\|b | **1,234.5** [1, 2] |\n\n- one\n  more\n- two\n"
    )
    text += "\n![plot](x.png)\n\n```sh\na < b\n\n# c\n```\n\n    code\n"
    html = markdown(text, level=2)
    assert html.startswith("<h2>Head</h2><p>Two lines.</p><div ")
    assert '<td data-sort="1234.5"><strong>1,234.5</strong> [1, 2]</td>' in html
    assert '<th scope="row">a|b</th>' in html and "<caption>Head</caption>" in html
    assert "<ul><li>one   more</li><li>two</li></ul>" in html.replace("\n", " ")
    assert (
        html.endswith('<pre tabindex="0">a &lt; b\n\n# c</pre><pre tabindex="0">    code</pre>')
        and "img" not in html
        and "plot" not in html
    )
    assert markdown("") == "" and markdown("####### x") == "<h6>x</h6>"


def test_first_cell_is_the_head_of_its_row() -> None:
    html = table("caption", ["a", "b"], [["x", "1"], [cell("y", 3, header=True), cell("2", 0.1 + 0.2)]])
    assert html.count('<th scope="row"') == 2 and 'data-sort="3"' in html and 'data-sort="0.3"' in html
    assert html.count("<button") == 2 and "<button" not in table("caption", ["a"], [["x"]], sortable=False)
