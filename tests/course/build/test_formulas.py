"""Formulas without a network."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

pytest.importorskip("latex2mathml")
pytest.importorskip("nbconvert")

from memcom.course.build.formulas import FormulaError, render_markdown, to_mathml

SPACE = "{http://www.w3.org/1998/Math/MathML}"


def test_a_fraction_is_a_fraction():
    tree = ElementTree.fromstring(to_mathml(r"\frac{n}{m}", block=True))
    assert tree.attrib["display"] == "block"
    (fraction,) = tree.iter(f"{SPACE}mfrac")
    assert ["".join(part.itertext()) for part in fraction] == ["n", "m"]


@pytest.mark.parametrize(
    "tex",
    [
        r"\left\lfloor \frac{i}{m} \right\rfloor",
        r"U_{i \bmod m} \odot v_i + w_i",
        r"\mathbf{U} \in \mathbb{R}^{m \times e}",
        r"\begin{cases} a & b \\ c & d \end{cases}",
        r"\operatorname{nDCG}@10 = 50\,\%",
        r"\binom{n}{2} \approx \frac{n^2}{2m}",
        r"\text{bytes} < 4 (m e + v)",
        r"\sum_{i=1}^{n} \left(1 - \tfrac{1}{m}\right)^n",
    ],
)
def test_the_courses_vocabulary_converts(tex):
    ElementTree.fromstring(to_mathml(tex, block=False))


@pytest.mark.parametrize("tex", [r"\nosuchcommand x", r"\frac{", r"x^{"])
def test_what_does_not_convert_is_an_error(tex):
    with pytest.raises(FormulaError, match="does not convert"):
        to_mathml(tex, block=False)


def test_markdown_keeps_text_and_converts_every_kind_of_formula():
    html = render_markdown(
        "Row $i$ of\n\n$$\\frac{n}{m}$$\n\nand `$code$`, "
        "\\begin{align} a &= b \\end{align} and *more*.\n\n"
        "| a | b |\n|---|---|\n| $x_1$ | 2 |"
    )
    assert html.count("<math") == 4
    assert html.count('display="block"') == 2
    assert "<code>$code$</code>" in html
    assert "<em>more</em>" in html
    assert "<table>" in html
    assert "\\" not in html
