"""The pages of docs/results come from their programs, which still run."""

import pytest
from synthetic import results
from synthetic_escape import escape_results
from synthetic_methods import methods_results

from results_pages import written


@pytest.mark.parametrize(
    ("make", "heading"),
    [
        (results, "| arm | n |"),
        (methods_results, "| method | n |"),
        (escape_results, "| way | n |"),
    ],
    ids=["difficulty", "methods", "escape"],
)
def test_a_page_is_written_from_finished_studies(make, heading, tmp_path):
    made = make()
    page = written(made, tmp_path)
    assert page.startswith(f"# The {made['study']} study on `{made['problem']['name']}`")
    assert "Written 2026-01-02; sparsescape 0.1, torch 2" in page
    assert made["command"] in page
    assert heading in page
