"""Peak memory of this process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from memcom.profiling import peak


def test_the_peak_stays_after_memory_is_freed():
    code = (
        f"import sys; sys.path.insert(0, {str(peak.__file__).rsplit('/', 1)[0]!r})\n"
        "from peak import peak_rss_bytes\n"
        "before = peak_rss_bytes()\n"
        "ballast = b'x' * (200 * 2**20)\n"
        "del ballast\n"
        "print(peak_rss_bytes() - before)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 190 * 2**20 < int(out.stdout) < 220 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="Linux keeps ru_maxrss over exec")
def test_a_large_parent_does_not_count():
    ballast = b"x" * (300 * 2**20)
    code = (
        f"import sys; sys.path.insert(0, {str(peak.__file__).rsplit('/', 1)[0]!r})\n"
        "from peak import peak_rss_bytes\n"
        "print(peak_rss_bytes())"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(out.stdout) < 100 * 2**20 < len(ballast)
