"""The claim ledger: what the paper says, what our runs say, and a verdict that a rule gives.

Prose stands in ``book/claims.yml``, numbers come from `evidence`. The rule:

- *supported*: three seeds or more, and the whole interval on the claim's side;
- *contradicted*: three seeds or more, the whole interval on the other side, in a setting at least as favourable as the paper's;
- *not tested*: nothing has been run, or fewer than three seeds point to the claim's side;
- *not reproduced*: everything else.
"""

import csv
import html
import io
from dataclasses import dataclass

import yaml

from hebm_lib.provenance import ROOT
from hebm_lib.reproduction.claims.evidence import MEASURES, Evidence
from hebm_lib.reproduction.tables import table

__all__ = ["Card", "Claim", "as_csv", "card", "ledger", "load_claims", "verdict"]

SEEDS = 3
"""So many training seeds a verdict needs that says more than *not reproduced*."""
MARKS = {"supported": "✓", "not reproduced": "○", "contradicted": "✗", "not tested": "–"}


def verdict(evidence: Evidence | None, *, fair: bool) -> str:
    """One of design's four words.

    Args:
        evidence: its positive side is the claim's.
        fair: our setting is at least as favourable to the claim as the paper's.

    Example:
        >>> verdict(Evidence("{}", 4.6, 3.9, 5.4, 3), fair=True), verdict(Evidence("{}", 4.6, -1.0, 9.4, 3), fair=True)
        ('supported', 'not reproduced')
        >>> verdict(Evidence("{}", -2.0, -3.0, -1.0, 3), fair=True), verdict(Evidence("{}", -2.0, -3.0, -1.0, 3), fair=False)
        ('contradicted', 'not reproduced')
    """
    if evidence is None:
        return "not tested"
    if evidence.n < SEEDS:
        return "not tested" if evidence.mean > 0 else "not reproduced"
    if evidence.low > 0:
        return "supported"
    return "contradicted" if evidence.high < 0 and fair else "not reproduced"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A record of ``book/claims.yml``."""

    id: str
    where: str
    claim: str
    paper: str
    measure: str
    differs: str
    fair: bool
    change: str
    page: str

    @property
    def evidence(self) -> Evidence | None:
        """What our runs say; None where there are none."""
        return MEASURES[self.measure]()

    @property
    def ours(self) -> str:
        """That in words."""
        found = self.evidence
        return "not run" if found is None else found.text()

    @property
    def verdict(self) -> str:
        """By the rule."""
        return verdict(self.evidence, fair=self.fair)


def load_claims() -> list[Claim]:
    """All records, in the paper's order.

    Raises:
        ValueError: for a record with a key too many or too few, an id twice, or a measure that is not there.
    """
    records = yaml.safe_load((ROOT / "book" / "claims.yml").read_text(encoding="utf-8"))
    try:
        claims = [Claim(**record) for record in records]
    except TypeError as error:
        raise ValueError(f"book/claims.yml: {error}") from error
    if len({claim.id for claim in claims}) < len(claims):
        raise ValueError("book/claims.yml: an id stands there twice")
    for claim in claims:
        if claim.measure not in MEASURES:
            raise ValueError(f"book/claims.yml, {claim.id}: there is no measure {claim.measure!r}")
    return claims


def badge(word: str) -> str:
    """A verdict as HTML: colour, sign and word, so that none of them is needed."""
    return f'<span class="verdict verdict-{word.replace(" ", "-")}">{MARKS[word]} {word}</span>'


def ledger() -> str:
    """All claims as a table, a row each."""
    rows = [
        [claim.where, f"[{claim.claim}](notebooks/{claim.page}.ipynb)", claim.paper, claim.ours, badge(claim.verdict)]
        for claim in load_claims()
    ]
    return table(["where", "the paper says", "its number", "ours, 95 %", "verdict"], rows)


def as_csv() -> str:
    """The ledger with all columns, for a spreadsheet."""
    lines = io.StringIO()
    sheet = csv.writer(lines, lineterminator="\n")
    sheet.writerow(["id", "where", "claim", "paper", "ours", "verdict", "differs", "would change our mind", "page"])
    for c in load_claims():
        sheet.writerow([c.id, c.where, c.claim, c.paper, c.ours, c.verdict, c.differs, c.change, c.page])
    return lines.getvalue()


class Card:
    """A claim at the top of a page, as HTML in Jupyter and in the book."""

    def __init__(self, claim: Claim):
        self.claim = claim

    def _repr_html_(self) -> str:
        c = self.claim
        lines = (
            ("The paper", c.paper),
            ("Ours", c.ours),
            ("What differs", c.differs),
            ("Would change our mind", c.change),
        )
        cells = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in lines)
        return (
            f'<div class="claim-card"><p>{badge(c.verdict)} <strong>{html.escape(c.where)}.</strong> '
            f"{html.escape(c.claim)}</p><dl>{cells}</dl></div>"
        )

    def __repr__(self) -> str:
        c = self.claim
        return f"{c.where}: {c.claim} {c.ours}. {c.verdict}"


def card(id: str) -> Card:
    """The card of one claim; raises `ValueError` for an id that is not in the ledger."""
    claims = {claim.id: claim for claim in load_claims()}
    if id not in claims:
        raise ValueError(f"there is no claim {id!r}: there are {', '.join(claims)}")
    return Card(claims[id])
