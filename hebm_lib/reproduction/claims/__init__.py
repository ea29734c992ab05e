"""The scoreboard: every number of the book beside the paper's, and nothing typed in.

`page` says which table fills which marker of ``book/scoreboard.md`` and the README. The tables: `levels` (Table 1, Figures 5
and 6), `family` (a row per model, a row per run), `robustness` (Figures 8 and 9), `unfamiliar` (Table 3, out of
distribution) and `paper_tables` (what waits for data, and the ablations).
"""

from hebm_lib.reproduction.claims.page import FILLERS, PAGES, write_scoreboard

__all__ = ["FILLERS", "PAGES", "write_scoreboard"]
