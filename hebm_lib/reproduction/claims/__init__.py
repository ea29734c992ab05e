"""The scoreboard: every number of the book beside the paper's, and nothing typed in.

`page` says which table fills which marker of ``book/scoreboard.md``, the landing page and the README. `ledger` has every claim
with its verdict, on what `evidence` finds. The other tables: `worth` (pairs with and without an energy), `levels` (Table 1,
Figures 5 and 6), `family` (a row per model, a row per run), `robustness` (Figures 8 and 9), `unfamiliar` (Table 3, out of
distribution) and `paper_tables` (natural images, 3D shapes, the ablations).
"""

from hebm_lib.reproduction.claims.ledger import card
from hebm_lib.reproduction.claims.page import FILLERS, PAGES, SHEET, write_scoreboard

__all__ = ["FILLERS", "PAGES", "SHEET", "card", "write_scoreboard"]
