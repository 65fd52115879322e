"""The C compiler that the native engine asks, and the cache of what it has built."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small import assert_close, equal
from support.training import parameters, set_gradients, trained
from torch.nn import Parameter

import optim_core
from optim_core.engines import native
from optim_core.engines.native import compiler
from optim_core.errors import EngineUnavailable


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of its own, in a process that has not given up on compiling."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("OPTIM_CORE_CACHE", str(folder))
    monkeypatch.setattr(compiler, "_loaded", {})
    monkeypatch.setattr(native.ENGINE, "failure", None)
    compiler._say_once.cache_clear()
    yield folder
    compiler._say_once.cache_clear()


def fake_compiler(tmp_path: Path, script: str) -> str:
    path = tmp_path / "fake-cc"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


BROKEN = {
    "fails": ("echo 'rule.c:1: error: no' >&2; exit 1", "exited with 1: rule.c:1: error: no"),
    "says nothing": ("exit 3", "exited with 3: it said nothing"),
    "is killed": ("kill -9 $$", "was killed by signal 9"),
    "does nothing": ("exit 0", "exited with 0"),
    "hangs": ("sleep 60", "did not finish"),
    "builds something else": (
        'while [ "$1" != -o ]; do shift; done; echo "int x;" | gcc -x c -shared -fPIC -o "$2" -',
        "cannot be loaded: .*undefined symbol: run",
    ),
    "prints what is no text": (r"printf '\377\376\n' >&2; exit 1", "exited with 1"),
    "writes nonsense": ('while [ "$1" != -o ]; do shift; done; echo nonsense > "$2"', "cannot be loaded"),
}


@pytest.mark.parametrize(("script", "why"), BROKEN.values(), ids=BROKEN)
def test_a_broken_compiler(
    script: str, why: str, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setenv("CC", fake_compiler(tmp_path, script))
    monkeypatch.setattr(compiler, "PATIENCE", 0.5)
    mine, theirs = (parameters(torch.float64, (100, 100)) for _ in range(2))
    optimizer = optim_core.get("adamw")(mine, engine="native")
    set_gradients(mine, 0)
    before = mine[0].detach().clone()
    with pytest.raises(EngineUnavailable, match=rf"{why}.*Set CC to a working C compiler, or use engine='eager'"):
        optimizer.step()
    assert torch.equal(mine[0], before)
    assert not caplog.records
    for _ in range(2):  # the log has one line, however many optimizers there are
        trained(optim_core.get("adamw"), parameters(torch.float64, (100, 100)))
    optimizer = trained(optim_core.get("adamw"), mine)
    trained(lambda ps: optim_core.get("adamw")(ps, engine="eager"), theirs)
    assert_close(mine, theirs)
    assert [record.getMessage() for record in caplog.records] == [
        f"update rules run by the eager engine, which is slower: {native.ENGINE.failure}"
    ]
    assert re.search(why, optimizer.explain().rows[0].engine)


@pytest.mark.parametrize("command", ["gcc 'unterminated", "", " ", "/", "gcc\\"])
def test_a_compiler_that_is_no_command(command: str, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", command)
    trained(optim_core.get("adamw"), parameters(torch.float32, (100, 100)), 1)
    if command:
        with pytest.raises(EngineUnavailable, match=r"CC=.* is not a (command|program)"):
            trained(lambda ps: optim_core.get("lion")(ps, engine="native"), parameters(), 1)


def test_a_slow_compiler_is_named(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    path = fake_compiler(tmp_path, 'sleep 0.5; exec gcc "$@"')
    monkeypatch.setenv("CC", path)
    monkeypatch.setattr(compiler, "QUIET", 0.1)
    lion()
    assert [record.getMessage() for record in caplog.records] == [f"still compiling an update rule, with {path}"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_forked_child_leaves_its_parents_folder_alone(tmp_path: Path) -> None:
    program = (
        "import os, sys, torch, optim_core\n"
        "def go(name):\n"
        "    p = torch.nn.Parameter(torch.ones(5000)); p.grad = torch.ones(5000)\n"
        "    optim_core.get(name)([p], engine='native').step()\n"
        "torch.set_num_threads(1); go('adamw')\n"
        "if os.fork() == 0: sys.exit(0)\n"
        "os.wait(); go('lion')\n"
    )
    (tmp_path / "file").touch()
    environment = {**os.environ, "OPTIM_CORE_CACHE": str(tmp_path / "file" / "cache"), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_no_compiler(fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    optimizer = trained(optim_core.get("adamw"), parameters(torch.float32, (100, 100)))
    assert "CC='no-such-compiler' is not a program" in optimizer.explain().rows[0].engine
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(fresh))
    with pytest.raises(EngineUnavailable, match=r"there is no C compiler \(cc, gcc or clang\)"):
        trained(lambda ps: optim_core.get("adamw")(ps, engine="native"), parameters())
    assert len(caplog.records) == 1


def lion(engine: str = "native") -> list[Parameter]:
    params = parameters(torch.float64, (9, 7))
    trained(lambda ps: optim_core.get("lion")(ps, engine=engine), params, 1)
    return params


def test_the_cache_is_used(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lion()
    built = {path: path.stat().st_mtime_ns for path in fresh.iterdir()}
    assert {path.suffix for path in built} == {".so", ".sum"}
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
    monkeypatch.setattr(compiler, "_loaded", {})
    monkeypatch.setattr(compiler, "_compile", None)  # is not called
    assert equal(first, lion())
    assert built == {path: path.stat().st_mtime_ns for path in fresh.iterdir()}


@pytest.mark.parametrize("spoil", [b"", b"\x7fELF nonsense", None], ids=["empty", "nonsense", "cut short"])
def test_a_spoilt_cache_is_built_anew(spoil: bytes | None, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lion()
    for path in fresh.glob("*.so"):
        content = path.read_bytes()
        path.unlink()  # as another process would: what is loaded stays as it is
        path.write_bytes(content[: len(content) // 2] if spoil is None else spoil)
    monkeypatch.setattr(compiler, "_loaded", {})
    assert equal(first, lion())


def test_a_cache_from_another_machine_is_not_used(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lion()
    here = set(fresh.glob("*.so"))
    monkeypatch.setattr(compiler, "_loaded", {})
    monkeypatch.setattr(compiler, "processor", lambda: "another one")
    lion()
    assert len(set(fresh.glob("*.so")) - here) == len(here)


def test_a_folder_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any, fresh: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("OPTIM_CORE_CACHE", str(tmp_path / "file" / "cache"))
    lion()
    assert "cannot be used (Not a directory): each process compiles its own" in caplog.records[0].getMessage()


def test_a_full_disk(fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    publish = compiler._publish

    def full(path: Path, content: bytes) -> None:
        if path.parent == fresh:
            raise OSError(28, "No space left on device")
        publish(path, content)

    monkeypatch.setattr(compiler, "_publish", full)
    lion()
    assert f"cannot be kept in {fresh} (No space left on device)" in caplog.records[0].getMessage()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="a POSIX system's permissions")
def test_a_folder_that_others_may_write_to_is_not_trusted(fresh: Path, caplog: Any) -> None:
    fresh.mkdir()
    fresh.chmod(0o777)
    lion()
    assert not list(fresh.iterdir())
    assert "others may write to it" in caplog.records[0].getMessage()
    assert "OPTIM_CORE_CACHE names another one" in caplog.records[0].getMessage()


def test_many_processes_compile_at_once(fresh: Path) -> None:
    program = (
        "import torch, optim_core\n"
        "w = torch.nn.Parameter(torch.ones(100, 100)); w.grad = torch.ones_like(w)\n"
        "o = optim_core.get('adamw')([w], lr=0.5, weight_decay=0.0, engine='native'); o.step()\n"
        "assert (w - 0.5).abs().max() < 1e-6, w\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert len(list(fresh.glob("*.so"))) == 1
    assert not [path for path in fresh.iterdir() if path.suffix not in (".so", ".sum")]
