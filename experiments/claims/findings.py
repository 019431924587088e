"""Every statement put to the test, in order."""

from __future__ import annotations

from experiments.claims import memcom_claims, other_claims
from experiments.claims.answers import Finding
from experiments.claims.results import Results

QUESTIONS = (
    memcom_claims.of_the_abstract,
    memcom_claims.against_rivals,
    memcom_claims.of_its_options,
    memcom_claims.of_the_order_of_ids,
    memcom_claims.of_its_weights,
    other_claims.of_quotient_remainder,
    other_claims.of_binary_codes,
    other_claims.of_the_other_tasks,
    other_claims.of_information_abundance,
    other_claims.of_the_full_table,
)


def findings(results: Results) -> list[Finding]:
    """Put every statement to the test.

    Args:
        results: The committed sweeps; what they lack is answered "not measured".

    Returns:
        The findings, those about MEmCom first.
    """
    return [finding for ask in QUESTIONS for finding in ask(results)]
