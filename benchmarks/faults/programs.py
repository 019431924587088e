"""The programs: each disturbs a sweep in one way, `rounds` times, and counts what is wrong then."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.faults.sweeps import Found, box, is_alive, stored, wait_until
from memcom._files import write_text


def kill_workers(engine: str, rounds: int) -> Found:
    """Kill a worker in the middle of a trial, each time of another trial."""
    chance = random.Random(0)
    killed: set[str] = set()
    ratios = (2, 4, 6, 8) if rounds > 20 else (2,)
    with box(seconds=0.4, ratios=ratios) as place:
        with place.command(engine) as process:
            while len(killed) < rounds and process.poll() is None:
                fresh = {k: v for k, v in place.running().items() if k not in killed}
                if not fresh:
                    time.sleep(0.01)
                    continue
                time.sleep(chance.random() * 0.35)
                for digest, worker in fresh.items() & place.running().items():
                    os.kill(worker, signal.SIGKILL)
                    killed.add(digest)
                    break
            process.wait(900)
        return place.found(f"kill workers, {engine}", len(killed), exit=process.returncode)


def signals(engine: str, rounds: int) -> Found:
    """End the command by SIGTERM, SIGINT or SIGKILL in the middle of a trial, and resume it."""
    chance, sent, workers = random.Random(0), 0, 0
    kinds = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
    with box(seconds=0.3, ratios=(2, 4, 6, 8) if rounds > 20 else (2, 4)) as place:
        for number in range(rounds):
            there = stored(place.out)
            with place.command(engine) as process:

                def started(there: int = there, process: Any = process) -> bool:
                    return process.poll() is not None or (
                        stored(place.out) > there and bool(place.running())
                    )

                wait_until(started)
                if process.poll() is not None:
                    break
                time.sleep(chance.random() * 0.25)
                left = set(place.running().values()) - {process.pid}
                process.send_signal(kinds[number % 3])
                sent += 1
                process.wait(60)
                deadline = time.monotonic() + 10
                while any(map(is_alive, left)) and time.monotonic() < deadline:
                    time.sleep(0.05)
                workers += sum(map(is_alive, left))
        place.finish()
        jobs = 2 if engine == "processes" else 1
        return place.found(f"signals, {engine}", sent, sent * jobs, workers_left=workers)


def shared_folder(rounds: int) -> Found:
    """Run two sweeps in one folder; kill one of them again and again."""
    kills = 0
    with box(seconds=rounds / 7) as place, place.command("local") as steady:
        while kills < rounds and steady.poll() is None:
            with place.command("processes") as other:
                others = wait_until(
                    lambda: (
                        set(place.running().values()) - {steady.pid} or steady.poll() is not None
                    )
                )
                if others is not True and other.poll() is None:
                    os.killpg(other.pid, signal.SIGKILL)
                    kills += 1
        steady.wait(600)
        place.finish("processes")  # removes what killed processes could not
        return place.found("two sweeps, one killed", kills, 2 * kills, exit=steady.returncode)


def two_at_once(rounds: int) -> Found:
    """Run two sweeps in one folder to their end; no trial may run twice."""
    found = Found("two sweeps to their end")
    for _ in range(max(1, rounds // 10)):
        with box(seconds=0.1) as place:
            with place.command("local") as one, place.command("processes") as other:
                for process in (one, other):
                    process.wait(600)
            each = place.found(found.program, 0, exits=(one.returncode, other.returncode))
        for name in ("trials", "lost", "doubled", "damaged", "differing", "outside"):
            setattr(found, name, getattr(found, name) + getattr(each, name))
        found.notes = each.notes
        found.disturbed += 2
    return found


def full_disk(engine: str, rounds: int) -> Found:
    """Let the record of a trial be larger than a file may be, and then not."""
    refused = 0
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (120_000, 120_000))
    with box(seconds=0.02, units=60_000, ratios=(2,)) as place:
        for _ in range(max(1, rounds // 10)):
            with place.command(engine, prepare=limit) as process:
                process.wait(600)
            words = place.said.read_text()
            refused += process.returncode == 1 and "File too large" in words
            if stored(place.out):
                break
        early = stored(place.out)
        place.finish()
        return place.found(f"full disk, {engine}", refused, 4 * refused, stored_before=early)


def small_disk(engine: str, rounds: int) -> Found:
    """Let a disk of 1 MB fill in the middle of a sweep, and then give it room."""
    name, refused = f"disk of 1 MB, {engine}", 0
    with box(seconds=0.02, units=20_000) as place:
        place.out.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "memcom-faults", str(place.out)]
        made = subprocess.run(mount, capture_output=True, text=True)
        if made.returncode:
            return Found(name, notes=[f"skipped: {made.stderr.strip()}"])
        try:
            with place.command(engine) as process:
                process.wait(600)
            words = place.said.read_text()
            refused = int(process.returncode == 1 and "No space left" in words)
            early = stored(place.out)
            grown = ["mount", "-o", "remount,size=64m", str(place.out)]
            subprocess.run(grown, check=True, capture_output=True)
            place.finish()
            return place.found(name, refused, 4, stored_before=early)
        finally:
            subprocess.run(["umount", str(place.out)], check=True)


JUMPING = """
import atexit, os, random, time
real, count = time.time, [0]
def jumping():
    count[0] += 1
    return real() + random.uniform(-3e8, 3e8)
def write():
    with open(os.environ["FAULTS_LOG"] + ".jumps", "a") as file:
        file.write(str(count[0]) + "\\n")
time.time, time.time_ns = jumping, lambda: int(1e9 * jumping())
atexit.register(write)
"""


def clock(engine: str, rounds: int) -> Found:
    """Let the time of day jump by up to ten years, to and fro, at every look at it."""
    with box(seconds=0.05) as place:
        write_text(place.out.with_name("clock") / "sitecustomize.py", JUMPING)
        place.before |= place.listing()
        jumping = {"PYTHONPATH": str(place.out.with_name("clock")), "PYTHONDONTWRITEBYTECODE": "1"}
        place.finish(engine, jumping)
        jumps = sum(map(int, place.log.with_name("log.jumps").read_text().split()))
        place.before |= {place.log.with_name("log.jumps")}
        return place.found(f"clock, {engine}", jumps, 0)


PROGRAMS: Mapping[str, tuple[Callable[[int], Found], ...]] = {
    "kills": (partial(kill_workers, "processes"), partial(kill_workers, "ray")),
    "signals": (partial(signals, "local"), partial(signals, "processes")),
    "shared": (two_at_once, shared_folder),
    "disk": tuple(partial(f, e) for f in (full_disk, small_disk) for e in ("local", "processes")),
    "clock": (partial(clock, "local"), partial(clock, "processes")),
}
