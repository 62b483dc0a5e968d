"""The wheel holds our package and nothing else, and says what it needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import lightwork

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [path] = folder.iterdir()
    return path


def test_it_serves_every_platform(wheel: Path) -> None:
    assert wheel.name == f"lightwork-{lightwork.__version__}-py3-none-any.whl"


def test_it_holds_the_package_whole_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    source = ROOT / "src"
    assert ours == {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert "lightwork/py.typed" in ours
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_it_needs_four_small_packages(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
    metadata = message_from_string(archive.read(name).decode())
    needs = [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert sorted(need.split(">")[0] for need in needs) == [
        "backports-zstd",
        "cloudpickle",
        "platformdirs",
        "xxhash",
    ]
    assert metadata["Requires-Python"] == ">=3.11"


def test_it_can_be_imported(wheel: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(wheel)!r}); import lightwork; print(lightwork.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(wheel))
