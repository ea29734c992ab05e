"""The claim ledger: every record is whole, every verdict follows the rule, cards and sheet say what the page says."""

import csv
import json

import pytest
import yaml
from shared import ROOT

from hebm_lib.reproduction.claims import SHEET, card
from hebm_lib.reproduction.claims.evidence import MEASURES, Evidence
from hebm_lib.reproduction.claims.ledger import SEEDS, as_csv, ledger, load_claims, verdict

CLAIMS = load_claims()
NAN = float("nan")


@pytest.mark.parametrize(
    ("mean", "low", "high", "n", "fair", "word"),
    [
        (2.0, 1.0, 3.0, 3, False, "supported"),
        (2.0, 1.0, 3.0, 2, True, "not tested"),  # two seeds that point there are no verdict
        (2.0, NAN, NAN, 1, True, "not tested"),
        (-2.0, NAN, NAN, 1, True, "not reproduced"),
        (2.0, -1.0, 5.0, 5, True, "not reproduced"),
        (-2.0, -3.0, -1.0, 5, True, "contradicted"),
        (
            -2.0,
            -3.0,
            -1.0,
            5,
            False,
            "not reproduced",
        ),  # a setting less favourable than the paper's contradicts nothing
        (0.0, 0.0, 0.0, 3, True, "not reproduced"),
    ],
)
def test_the_rule(mean, low, high, n, fair, word):
    assert verdict(Evidence("{}", mean, low, high, n), fair=fair) == word


def test_nothing_run_is_not_tested():
    assert verdict(None, fair=True) == "not tested"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_record_is_whole_and_its_page_is_there(claim):
    assert (ROOT / "notebooks" / f"{claim.page}.ipynb").is_file()
    assert all(getattr(claim, field).strip() for field in ("where", "claim", "paper", "differs", "change"))
    found = claim.evidence
    if claim.verdict in ("supported", "contradicted"):
        assert found.n >= SEEDS and found.low * found.high > 0, "an interval clear of 0, from enough seeds"
    if claim.verdict == "contradicted":
        assert claim.fair
    if found is not None and found.n > 1:
        assert found.low <= found.mean <= found.high


def test_every_measure_is_asked():
    assert {claim.measure for claim in CLAIMS} == MEASURES.keys() and len(CLAIMS) >= 18


def test_the_paper_s_digits_stand_as_they_are_printed():
    printed = json.dumps(json.loads((ROOT / "book" / "results" / "paper.json").read_text()))
    for claim in CLAIMS:
        for word in claim.paper.replace(",", " ").split():
            if "." in word and word.replace(".", "").isdigit():
                assert f"{float(word):g}" in printed, f"{claim.id}: {word}"


def test_the_sheet_is_up_to_date_and_says_what_the_table_says():
    assert SHEET.read_text(encoding="utf-8") == as_csv(), "run `make scoreboard`"
    rows = list(csv.DictReader(SHEET.read_text(encoding="utf-8").splitlines()))
    assert [row["id"] for row in rows] == [claim.id for claim in CLAIMS]
    text = ledger()
    assert all(f"{row['verdict']}</span>" in text and row["ours"] in text for row in rows)
    assert len(text.splitlines()) == len(CLAIMS) + 2


def test_a_card_shows_the_claim_in_html_and_in_a_terminal():
    shown = card("nats")
    assert "Eq. 3" in shown._repr_html_() and "verdict-supported" in shown._repr_html_() and "nats" in repr(shown)
    with pytest.raises(ValueError, match="there are conditional, nats"):
        card("nuts")


def test_a_broken_record_is_named(monkeypatch, tmp_path):
    from hebm_lib.reproduction.claims import ledger as module

    record = yaml.safe_load((ROOT / "book" / "claims.yml").read_text(encoding="utf-8"))[0]
    (tmp_path / "book").mkdir()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    for broken, message in (
        ([{**record, "colour": "red"}], "colour"),
        ([record, record], "twice"),
        ([{**record, "measure": "luck"}], "luck"),
    ):
        (tmp_path / "book" / "claims.yml").write_text(yaml.safe_dump(broken))
        with pytest.raises(ValueError, match=message):
            load_claims()
