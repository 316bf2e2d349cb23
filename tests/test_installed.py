"""What is installed beside us: another package named verify in the same folder is told in one line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from convexnn.checks import OTHER_VERIFY, mixed_files
from tests.helpers.places import ROOT


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder as pip leaves it, with both of our packages."""
    for package in ("convexnn", "verify"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(site: Path, code: str) -> tuple[int, str]:
    """Run code against the packages of a folder alone; return the exit code and the last line of standard error."""
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {code}"]
    result = subprocess.run(words, capture_output=True, text=True, cwd=site, env={"PYTHONPATH": str(site)})
    return result.returncode, (result.stderr.strip().splitlines() or [""])[-1]


def test_our_files_are_none_of_the_others() -> None:
    assert mixed_files(ROOT / "verify") is None
    assert not {path.name for path in (ROOT / "verify").glob("*.py")} & set(OTHER_VERIFY)


def test_files_of_the_other_package_are_refused(site: Path) -> None:
    assert run(site, "import convexnn, verify") == (0, "")
    (site / "verify" / "base.py").write_text("", encoding="ascii")
    code, line = run(site, "import verify")
    assert code == 1
    assert line.startswith("ImportError: ")
    assert "base.py of the package verify (PyPI, 2017)" in line
    assert line.endswith("run pip uninstall verify convexnn, then install convexnn again")


def test_the_other_package_on_top_of_ours_is_told_by_convexnn(site: Path) -> None:
    # What pip leaves where it came last: its own __init__.py and the rest of its files among ours.
    for name in ("__init__.py", *OTHER_VERIFY):
        (site / "verify" / name).write_text("", encoding="ascii")
    assert run(site, "import verify; assert not hasattr(verify, 'find_adversarial')") == (0, "")
    told = "import warnings; warnings.simplefilter('error'); import convexnn"
    code, line = run(site, told)
    assert code == 1
    assert line.startswith("UserWarning: ")
    assert "of the package verify (PyPI, 2017)" in line


def test_the_command_refuses_mixed_files(site: Path) -> None:
    (site / "verify" / "__meta__.py").write_text("", encoding="ascii")
    quiet = "import warnings; warnings.simplefilter('ignore')"
    code, line = run(site, f"{quiet}; from convexnn.cli import main; sys.exit(main(['--version']))")
    assert code == 2
    assert line.startswith("error: ")
    assert "__meta__.py of the package verify" in line
