"""deploy/: units that a machine can start and that give away nothing; their policies are tested with scripts/policies.py."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parent.parent / "deploy" / "systemd"
NAMES = ("omni-hose.service", "omni-run.service", "omni-api.service")
HARDENED = {
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateDevices=yes",
    "UMask=0077",
    "LimitCORE=0",  # keys and addresses are in memory
    "SystemCallFilter=@system-service",
}


def test_there_is_a_unit_for_each_role() -> None:
    """Of those that are started one by one."""
    assert {path.name for path in UNITS.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_is_hardened_and_runs_a_command_of_ours(name: str) -> None:
    """Without rights, and with the system read-only; not started again where a setting is wrong."""
    lines = (UNITS / name).read_text().splitlines()
    role = name.removeprefix("omni-").removesuffix(".service")
    assert HARDENED - set(lines) == set()
    assert f"ExecStart=/opt/omni/bin/omni {role}" in lines
    assert "RestartPreventExitStatus=2" in lines
    known = subprocess.run([sys.executable, "-m", "omni_etl", role, "--help"], capture_output=True, check=False)
    assert known.returncode == 0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("name", NAMES)
def test_systemd_understands_a_unit(name: str, tmp_path: Path) -> None:
    """Every line of it; a misspelled one would be passed over in silence."""
    unit = tmp_path / name
    unit.write_text((UNITS / name).read_text().replace("/opt/omni/bin/omni", sys.executable))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
