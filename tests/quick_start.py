"""A plugin for `make test`: every process of pytest starts a second and a half sooner.

jsonschema, which checks the format of pages, compiles a grammar of internationalised addresses when it is imported, in each
process anew. No page has such an address, and jsonschema does without where the grammar is not installed.
"""

import sys

sys.modules.setdefault("rfc3987_syntax", None)
