"""From C text to a loaded library: the machine's compiler, and a cache of libraries.

The cache lies in the user's cache folder, or in ``OPTIM_CORE_CACHE``. A library's name is a hash of its text, of the
compiler and its flags, and of the processor; beside it lies a checksum, so that a truncated or damaged file is
built again instead of being loaded. Processes that build the same library at once each write their own file and rename
it.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

logger = logging.getLogger("optim_core")

#: As exact as torch's own kernels: operations keep their order, products and sums are not contracted.
FLAGS = (
    "-std=gnu11",
    "-O3",
    "-march=native",
    "-fopenmp-simd",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-unswitch-loops",  # GCC 12 leaves loops with reductions scalar that it has unswitched
    "-fPIC",
    "-shared",
    "-w",
)
#: Seconds after which a compiler that has not finished is killed; it usually takes less than one.
PATIENCE = 60.0
#: Seconds after which the log says that it is still at work.
QUIET = 5.0


class CompilerError(Exception):
    """The text could not be compiled or loaded; the reason, in one line."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler.

    Attributes:
        command: how it is called, with arguments of its own if ``CC`` names some.
        identity: a text that changes when the program does.
    """

    command: tuple[str, ...]
    identity: str


def find() -> Compiler:
    """The machine's C compiler: ``$CC`` if set, else the first of cc, gcc, clang.

    Raises:
        CompilerError: there is none.
    """
    chosen = os.environ.get("CC")
    for candidate in [chosen] if chosen else ["cc", "gcc", "clang"]:
        try:
            command = shlex.split(candidate)
        except ValueError as error:  # a quotation that does not end
            raise CompilerError(f"CC={candidate!r} is not a command: {error}") from error
        path = shutil.which(command[0]) if command else None
        if path is not None:
            return _compiler((path, *command[1:]))
    raise CompilerError(f"CC={chosen!r} is not a program" if chosen else "there is no C compiler (cc, gcc or clang)")


def _compiler(command: tuple[str, ...]) -> Compiler:
    program = Path(command[0]).resolve().stat()
    return Compiler(command, f"{shlex.join(command)} {program.st_size} {program.st_mtime_ns}")


@cache
def processor() -> str:
    """A text that distinguishes this machine's processor from others on which its code might not run."""
    with contextlib.suppress(OSError):
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
        wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part")
        return "\n".join(line for line in described if line.startswith(wanted))
    return f"{platform.machine()} {platform.processor()}"


def load(text: str) -> ctypes.CDLL:
    """The library of a C text, which has a function ``run``, from the cache or newly built.

    Raises:
        CompilerError: there is no compiler, or it failed; with its first line of output.
    """
    compiler = find()
    try:
        try:
            return _load(compiler, (*FLAGS, *_vector_math(text)), text)
        except CompilerError:
            # An older compiler, or one for a processor that it does not know, may still take the plain text.
            return _load(compiler, tuple(flag for flag in FLAGS if flag not in _DISPENSABLE), text)
    except (OSError, ValueError) as error:  # a file name with a zero byte is a ValueError
        raise CompilerError(f"{compiler.command[0]}: {error}") from error


_DISPENSABLE = frozenset({"-march=native", "-fno-trapping-math", "-fno-unswitch-loops"})


def _load(compiler: Compiler, flags: tuple[str, ...], text: str) -> ctypes.CDLL:
    parts = (text, compiler.identity, shlex.join(flags), processor(), sys.platform)
    path = folder() / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}.so"
    if path in _loaded:
        return _loaded[path]
    if _is_sound(path):
        with contextlib.suppress(OSError, AttributeError):  # say, a folder that forbids execution
            return _loaded.setdefault(path, _opened(path))
    built = _build(compiler, flags, text, path)
    try:
        return _loaded.setdefault(path, _opened(built))
    except (OSError, AttributeError) as error:  # no library, or one of something else
        raise CompilerError(f"what {compiler.command[0]} built cannot be loaded: {error}") from error


def _opened(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.run  # noqa: B018 - looks it up
    return library


#: What this process has loaded, by its place in the cache.
_loaded: dict[Path, ctypes.CDLL] = {}


def _vector_math(text: str) -> tuple[str, ...]:
    return ("-DVECTOR_MATH", "-lmvec") if "#define TRANSCENDENTAL 1\n" in text and _has_libmvec() else ()


@cache
def _has_libmvec() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"


def _build(compiler: Compiler, flags: tuple[str, ...], text: str, path: Path) -> Path:
    """Compile to ``path``, or to a folder of this process's own where that cannot be written."""
    with tempfile.TemporaryDirectory(prefix="optim-core-") as scratch:
        source, library = Path(scratch, "rule.c"), Path(scratch, "rule.so")
        source.write_text(text, encoding="utf-8")
        _compile(compiler, flags, source, library)
        content = library.read_bytes()
    try:
        _publish(path, content)
    except OSError as error:
        path = _private() / path.name
        _publish(path, content)
        _say_once(
            f"compiled update rules cannot be kept in {folder()} ({error.strerror}): each process compiles its own"
        )
    return path


def _compile(compiler: Compiler, flags: tuple[str, ...], source: Path, library: Path) -> None:
    libraries = [flag for flag in flags if flag.startswith("-l")]
    others = [flag for flag in flags if not flag.startswith("-l")]
    command = [*compiler.command, *others, "-o", str(library), str(source), *libraries, "-lm"]
    slow = threading.Timer(
        QUIET, logger.warning, ("still compiling an update rule, with %s", shlex.join(compiler.command))
    )
    slow.daemon = True
    slow.start()
    try:
        done = subprocess.run(  # noqa: S603 - the user's own compiler
            command,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise CompilerError(f"{compiler.command[0]} did not finish: {error}") from error
    finally:
        slow.cancel()
    if done.returncode != 0 or not library.is_file():
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        how = f"was killed by signal {-done.returncode}" if done.returncode < 0 else f"exited with {done.returncode}"
        raise CompilerError(f"{compiler.command[0]} {how}: {said[0][:200] if said else 'it said nothing'}")


def _publish(path: Path, content: bytes) -> None:
    """Bring a library and its checksum to their names, the library last, each at once and whole."""
    _write(path.with_suffix(".sum"), hashlib.sha256(content).hexdigest().encode())
    _write(path, content)


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _is_sound(path: Path) -> bool:
    try:
        expected = path.with_suffix(".sum").read_text(encoding="ascii")
        return hashlib.sha256(path.read_bytes()).hexdigest() == expected
    except (OSError, ValueError):
        return False


# where libraries lie ---------------------------------------------------------------------------------------------
def folder() -> Path:
    """The cache folder, or one of this process's own where the user's cannot be used.

    A folder that others may write to is not used: the libraries in it are run.
    """
    chosen = os.environ.get("OPTIM_CORE_CACHE")
    try:
        path = Path(chosen) if chosen else _user_cache() / "optim-core"
    except RuntimeError:  # the user has no home
        return _private()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        _say_once(f"the cache folder {path} cannot be used ({error.strerror}): each process compiles its own")
        return _private()
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        _say_once(
            f"the cache folder {path} is another user's or others may write to it: each process compiles its own; "
            "OPTIM_CORE_CACHE names another one"
        )
        return _private()
    return path


def _user_cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    named = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return Path(named) if named else Path.home() / ".cache"


@cache
def _private() -> Path:
    path = Path(tempfile.mkdtemp(prefix="optim-core-"))
    atexit.register(_remove, path, os.getpid())
    return path


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child leaves its parent's alone
        shutil.rmtree(path, ignore_errors=True)


@cache
def _say_once(message: str) -> None:
    logger.warning(message)
