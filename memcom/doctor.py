"""Check an installation and print a remedy for each failure: ``python -m memcom.doctor``.

Every check is a small function that returns findings and takes what it judges as arguments, so
that a broken machine can be planted in a test. Nothing outside the standard library is imported
before it has been checked: where torch itself is broken, ``python memcom/doctor.py`` still works.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

DISTRIBUTION = "memcom-kit"
NOTEBOOK_EXTRAS = ("data", "notebooks")
EXTRAS = {
    "sweep": "sweeps, and data of your own",
    "data": "the known data sets",
    "notebooks": "the course",
    "docs": "the pages of the documentation",
    "fast": "compiled lookups",
    "export": "ONNX",
    "pretrained": "a trained encoder",
}
"""Extras a reader may want, and their use."""

_CHECKOUT = (Path(__file__).resolve().parents[1] / "pyproject.toml").is_file()
_GIB = 2**30


def _install(extras: Iterable[str], checkout: bool = _CHECKOUT) -> str:
    """The pip line for some extras: a checkout has constraints, an installed wheel has none."""
    listed = ",".join(extras)
    if checkout:
        return f"in the checkout: pip install -c constraints.txt -e '.[{listed}]'"
    return f"pip install '{DISTRIBUTION}[{listed}]'"


@dataclass(frozen=True)
class Finding:
    """A fact about the installation and its remedy; after a `last` one nothing can be checked."""

    status: Literal["ok", "note", "FAIL"]
    what: str
    remedy: str = ""
    last: bool = False

    def __str__(self) -> str:
        """The fact as one line, the remedy below it."""
        line = f"{'[' + self.status + ']':<7}{self.what}"
        return f"{line}\n       -> {self.remedy}" if self.remedy else line


def check_python(version: tuple[int, ...], executable: str) -> list[Finding]:
    """Judge the interpreter; `version` is (major, minor, micro)."""
    what = f"Python {'.'.join(map(str, version))} at {executable}"
    if version >= (3, 11):
        return [Finding("ok", what)]
    remedy = "make an environment with 3.11 or newer, as by: python3.12 -m venv .venv"
    return [Finding("FAIL", what, remedy)]


def check_requirements(
    requirements: Iterable[str] | None,
    demanded: Sequence[str] = (),
    version_of: Callable[[str], str] = metadata.version,
) -> list[Finding]:
    """Compare what is installed with the kit's own lower bounds.

    `requirements` are lines such as ``"pandas>=2.2; extra == 'data'"``, None where memcom-kit is
    not installed. Packages of extras that are not `demanded` may be missing, but not too old.
    """
    if requirements is None:
        what = f"{DISTRIBUTION} is not installed in this Python"
        return [Finding("FAIL", what, _install(NOTEBOOK_EXTRAS))]
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return [Finding("FAIL", "packaging is missing", "pip install packaging")]

    good: set[str] = set()
    findings = []
    absent: set[str] = set()
    for requirement in map(Requirement, requirements):
        extra = _extra_of(requirement)
        if extra is None or requirement.name == DISTRIBUTION:
            continue
        name, wanted = requirement.name, requirement.specifier
        try:
            version = version_of(name)
        except metadata.PackageNotFoundError:
            version = ""
        if version and wanted.contains(version, prereleases=True):
            good.add(f"{name} {version}")
        elif not version and extra and extra not in demanded:
            absent.add(extra)
        else:
            what = f"{name} {version} does not meet {wanted}" if version else f"{name} is missing"
            findings.append(Finding("FAIL", what, f"pip install '{name}{wanted}'"))
    if absent:
        named = {extra: use for extra, use in EXTRAS.items() if extra in absent}
        what = ", ".join(f"{extra} ({use})" for extra, use in named.items())
        remedy = f"take what you want of: {_install(named)}"
        findings.append(Finding("note", f"extras not installed, or in part: {what}", remedy))
    return [Finding("ok", f"{len(good)} packages: {', '.join(sorted(good))}"), *findings]


def _extra_of(requirement: Any) -> str | None:
    """Return the extra; "" for a core requirement, None for one that does not matter here."""
    marker = requirement.marker
    names = ("", *EXTRAS)
    return next((name for name in names if not marker or marker.evaluate({"extra": name})), None)


def check_torch() -> list[Finding]:
    """Import torch and look a few ids up in a compressed table."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        remedy = "install torch again, for a CPU or your CUDA, as its install page tells"
        return [Finding("FAIL", f"torch does not import: {error}", remedy, last=True)]
    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
    findings = [Finding("ok", f"torch computes on the CPU, {threads}")]
    if torch.cuda.is_available():
        findings.append(Finding("ok", f"CUDA {torch.version.cuda}: {torch.cuda.get_device_name()}"))
    elif torch.version.cuda:
        what = f"torch is built for CUDA {torch.version.cuda}, but finds no usable GPU"
        remedy = "all works on the CPU; for the GPU, look at what nvidia-smi says"
        findings.append(Finding("note", what, remedy))
    try:
        import memcom

        shape = tuple(memcom.build("memcom", 1000, 8, ratio=4)(torch.arange(3)).shape)
    except Exception as error:  # any error at all is a finding
        remedy = "install into a new environment; if it stays, please report it"
        return [*findings, Finding("FAIL", f"a compressed table does not work: {error!r}", remedy)]
    return [*findings, Finding("ok", f"a compressed table looks up rows of shape {shape}")]


def kernel_python() -> str | None:
    """Return the interpreter that Jupyter starts for the kernel ``python3``, if there is one."""
    from jupyter_client.kernelspec import NoSuchKernel
    from jupyter_client.manager import KernelManager

    try:
        program = KernelManager(kernel_name="python3").format_kernel_cmd()[0]
    except NoSuchKernel:
        return None
    return shutil.which(program) or program


def check_kernel(
    demanded: bool, executable: str, find: Callable[[], str | None] = kernel_python
) -> list[Finding]:
    """Check that notebooks run in this interpreter; no Jupyter fails only where it is demanded."""
    remedy = f"{executable} -m ipykernel install --sys-prefix"
    try:
        kernel = find()
    except ImportError:
        status: Literal["FAIL", "note"] = "FAIL" if demanded else "note"
        return [Finding(status, "Jupyter is not installed", _install(["notebooks"]))]
    if kernel is None:
        return [Finding("FAIL", "Jupyter has no kernel python3", remedy)]
    # Symbolic links stay: a virtual environment's python is a link to the one it was made from.
    if Path(os.path.abspath(kernel)).parent != Path(os.path.abspath(executable)).parent:
        return [Finding("FAIL", f"the kernel python3 runs another Python: {kernel}", remedy)]
    return [Finding("ok", "the kernel python3 runs this Python")]


def check_data(chosen: str | None) -> list[Finding]:
    """Judge `chosen`, the value of MEMCOM_DATA, and list the data sets that need no network."""
    if chosen and Path(chosen).expanduser().is_file():
        what = f"MEMCOM_DATA={chosen} is a file"
        return [Finding("FAIL", what, "unset MEMCOM_DATA, or set it to a folder of yours")]
    try:
        from memcom import data
    except ImportError as error:
        return [Finding("FAIL", f"data sets cannot be read: {error}", "see the lines above")]
    from memcom.data.obtain import is_here

    here = [name for name in data.names() if is_here(name)]
    away = [name for name in data.names() if name not in here]
    findings = [Finding("ok", f"data sets that need no network: {', '.join(here) or 'none'}")]
    if away:
        remedy = "memcom data fetch NAME gets one; memcom data info NAME shows its terms"
        findings.append(Finding("note", f"not on this machine: {', '.join(away)}", remedy))
    return findings


def check_room(memory: float | None, disk: float) -> list[Finding]:
    """Judge free memory (None: unknown) and free disk space, both in bytes."""
    if memory is None:
        findings = [Finding("note", "free memory is unknown", "pip install psutil")]
    else:
        findings = [_enough("memory", memory, "close other programs or other notebooks' kernels")]
    return [*findings, _enough("disk", disk, "make room, or set MEMCOM_DATA to another disk")]


def _enough(name: str, free: float, remedy: str) -> Finding:
    what = f"{free / _GIB:.1f} GiB of {name} free"
    if free >= _GIB:
        return Finding("ok", what)
    return Finding("FAIL", f"only {what}; the notebooks want 1", remedy)


def free_memory() -> float | None:
    """Return the bytes that can be had without swapping; None where psutil is missing."""
    try:
        import psutil
    except ImportError:
        return None
    return float(psutil.virtual_memory().available)


def diagnose(demanded: Sequence[str] = ()) -> list[Finding]:
    """Run all checks on this machine; `demanded` are extras that must be installed."""
    for extra in demanded:
        if extra not in EXTRAS:
            raise ValueError(f"no extra is called {extra!r}; there are {', '.join(EXTRAS)}")
    try:
        requirements = metadata.requires(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        requirements = None
    findings = check_python(sys.version_info[:3], sys.executable)
    findings += check_requirements(requirements, demanded)
    findings += check_torch()
    if findings[-1].last:
        return findings
    findings += check_kernel("notebooks" in demanded, sys.executable)
    findings += check_data(os.environ.get("MEMCOM_DATA"))
    return findings + check_room(free_memory(), shutil.disk_usage(Path.cwd()).free)


def print_failures(demanded: Sequence[str] = NOTEBOOK_EXTRAS) -> bool:
    """Print the failures, or one line and return True when all is well; for a notebook."""
    failures = [finding for finding in diagnose(demanded) if finding.status == "FAIL"]
    if not failures:
        print(f"[ok] Python {platform.python_version()}, packages, kernel, data, memory and disk")
    for failure in failures:
        print(failure)
    return not failures


def run_doctor(as_json: bool = False) -> int:
    """Print all findings and return the exit code: 1 if something failed, else 0."""
    findings = diagnose()
    failures = sum(finding.status == "FAIL" for finding in findings)
    if as_json:
        keys = ("status", "what", "remedy")
        print(json.dumps([{key: asdict(each)[key] for key in keys} for each in findings], indent=1))
    else:
        print(*findings, sep="\n")
        print(f"\n{failures} failed" if failures else "\nAll is well.")
    return min(failures, 1)


if __name__ == "__main__":
    # Run as a file, sys.path begins with memcom/, whose rooms hide packages of the same name.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    raise SystemExit(run_doctor())
