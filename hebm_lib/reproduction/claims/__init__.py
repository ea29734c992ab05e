"""The scoreboard: every number of the book beside the paper's, and nothing typed in.

`page` puts the page together from `levels` (Table 1, Figures 5 and 6), `family` (a row per model, a row per run),
`robustness` (Figures 8 and 9), `unfamiliar` (Table 3, out of distribution) and `paper_tables` (what waits for data, and
the ablations).
"""

from hebm_lib.reproduction.claims.page import README_END, README_START, readme_block, scoreboard_page, write_scoreboard

__all__ = ["README_END", "README_START", "readme_block", "scoreboard_page", "write_scoreboard"]
