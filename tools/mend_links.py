"""Make the book's symbolic links work where they came as text files, as on Windows or in a zip download.

``book/_config.yml``, ``book/_toc.yml`` and ``book/notebooks`` are links to what stands one folder up. A system without
links unpacks each as a small text file with the target's path in it. Those are replaced by copies; real links, and files
with anything else in them, stay as they are. `make book` runs this first.
"""

import shutil
import sys
from pathlib import Path

LINKS = ("_config.yml", "_toc.yml", "notebooks")


def mend(root: Path) -> list[str]:
    """Replace text files that stand for links under ``root/book`` by copies of their targets; says which."""
    mended = []
    for name in LINKS:
        link, target = root / "book" / name, root / name
        if link.is_symlink() or link.is_dir():
            continue
        if link.is_file() and link.read_text(encoding="utf-8").strip() != f"../{name}":
            continue  # a copy of the file that was made here earlier, or somebody's own
        link.unlink(missing_ok=True)
        (shutil.copytree if target.is_dir() else shutil.copyfile)(target, link)
        mended.append(name)
    return mended


if __name__ == "__main__":
    for name in mend(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1])):
        print(f"book/{name} was no link but a text file, as in a zip download: it is a copy of {name} now")
        print(f"  after a change of {name}, delete book/{name} and run this again")
