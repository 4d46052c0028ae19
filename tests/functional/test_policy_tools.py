"""oslo.policy's own programs know our rules and find the operator's files; a service takes changed files over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.running import Daemon

BIN = Path(sys.executable).parent


def run(tool: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / f"oslopolicy-{tool}"), "--namespace", "glancetx", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environ}, cwd="/", capture_output=True, text=True, timeout=300, check=False
    )


def write(folder: Path, policy: str) -> str:
    (folder / "policy.yaml").write_text(policy)
    (folder / "glance-api.conf").write_text("")
    return f"--config-file={folder}/glance-api.conf"


def test_generators(tmp_path: Path) -> None:
    """The sample has every rule as a comment; the effective policy has the operator's."""
    sample = run("sample-generator").stdout
    assert '#"get_image": "rule:context_is_admin or ' in sample
    assert "# GET  /v2/images/{image_id}/file" in sample
    assert sample.count('\n#"') == 67
    effective = run("policy-generator", write(tmp_path, 'copy_image: "role:copier"\n')).stdout
    assert '"copy_image": "role:copier"\n' in effective
    assert effective.count('\n"') == 66


def test_files_are_found_as_the_service_finds_them(tmp_path: Path) -> None:
    """Without --config-file the configuration directory counts."""
    write(tmp_path, 'copy_image: "role:copier"\n')
    assert '"copy_image": "role:copier"\n' in run("policy-generator", OS_GLANCE_CONFIG_DIR=str(tmp_path)).stdout


def test_list_redundant(tmp_path: Path) -> None:
    """Rules that say what the default says are named."""
    found = run("list-redundant", write(tmp_path, 'copy_image: "rule:context_is_admin"\nget_image: "@"\n'))
    assert found.stdout == '"copy_image": "rule:context_is_admin"\n'


def test_validator(tmp_path: Path) -> None:
    """Good files pass, bad ones do not."""
    assert run("validator", write(tmp_path, 'copy_image: "role:copier"\n')).returncode == 0
    for bad in ('copy_image: "rule:nowhere"\n', 'copy_imgae: "@"\n'):
        assert run("validator", write(tmp_path, bad)).returncode == 1


def test_hangup(daemon: Daemon) -> None:
    """A changed file is taken over without a restart, by SIGHUP at once, and by itself within a second or so."""
    (daemon.folder / "policy.yaml").write_text('add_image: "!"\n')
    daemon.start()
    body = json.dumps({"name": "x"}).encode()
    assert daemon.call("POST", "/v2/images", body)[0] == 403
    (daemon.folder / "policy.yaml").write_text('add_image: "@"\n')
    daemon.signal(signal.SIGHUP)
    while daemon.call("POST", "/v2/images", body)[0] != 201:
        pass
    (daemon.folder / "policy.yaml").write_text('add_image: "!" # again\n')
    while daemon.call("POST", "/v2/images", body)[0] != 403:
        pass
