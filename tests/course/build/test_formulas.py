"""Formulas without a network."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

pytest.importorskip("docutils")

from memcom.course.build.formulas import FormulaError, formulas, to_mathml

SPACE = "{http://www.w3.org/1998/Math/MathML}"


def test_a_fraction_is_a_fraction():
    tree = ElementTree.fromstring(to_mathml(r"\frac{n}{m}", block=True))
    assert tree.attrib["display"] == "block"
    (fraction,) = tree.iter(f"{SPACE}mfrac")
    assert ["".join(part.itertext()).strip() for part in fraction] == ["n", "m"]


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
        r"a_1, \dots, a_k",
    ],
)
def test_the_courses_vocabulary_converts(tex):
    markup = to_mathml(tex)
    assert markup.startswith("<math")
    assert "\\" not in markup


@pytest.mark.parametrize("tex", [r"\nosuchcommand x", r"\frac{", r"x^{"])
def test_what_does_not_convert_is_an_error(tex):
    with pytest.raises(FormulaError, match="does not convert"):
        to_mathml(tex)


def test_formulas_are_found_outside_code():
    text = (
        "Row $i$ of\n\n$$\\frac{n}{m}$$\n\nand `$code$`, \\begin{align} a &= b \\end{align}, 5 $."
    )
    assert list(formulas(text)) == [
        ("i", False),
        ("\\frac{n}{m}", True),
        ("\\begin{align} a &= b \\end{align}", True),
    ]
