# SPDX-License-Identifier: GPL-2.0
"""A guest of one CPU in which time is counted in instructions (QEMU's icount).

Beside scripts/vm: nothing may come from outside the emulation, neither a device with a
life of its own nor the time of day nor randomness, so that two runs give the same digits.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BUILD = os.path.join(TOP, "build")
OUT = os.path.join(BUILD, "bench")

QEMU = """setpriv --pdeathsig KILL qemu-system-x86_64
    -nodefaults -no-user-config -no-reboot -display none -machine pc -smp 1 -m 3G -accel tcg -icount shift=0,sleep=off
    -rtc base=2026-01-01T00:00:00,clock=vm -cpu max,-la57,-rdrand,-rdseed""".split()
PARAMETERS = ("console=ttyS0 quiet nokaslr norandmaps cryptomgr.notests slab_nomerge "
              "panic=-1 oops=panic")

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec >/dev/ttyS1 2>&1
ip link set lo up
(
set -e
{script}
)
echo "status $?"
rmmod myepoll && echo end
reboot -f
"""

# Before a script that starts servers: what they want to be there, and a wait for them.
SERVERS = """
mkdir -p /tmp /etc
echo root:x:0:0::/:/bin/sh >/etc/passwd
echo root:x:0: >/etc/group

listens() { # PORT PID, whose output is in /tmp/log
	until netstat -ltn | grep -q ":$1 "; do
		usleep 10000
		kill -0 $2 || { cat /tmp/log; exit 1; }
	done
}
"""


def image(kernel):
    where = os.path.join(BUILD, "kernels", kernel)
    with open(os.path.join(where, "release")) as f:
        release = f.read().strip()
    return release, os.path.join(where, "boot", "vmlinuz-" + release)


def libraries(program):
    """What a program needs to run: {path: path}."""
    said = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {path: path for path in re.findall(r"(/\S+) \(0x", said)}


def make_initramfs(script, files, root):
    for name in ("bin", "dev", "proc", "sys", "tmp"):
        os.mkdir(os.path.join(root, name))
    for to, path in {"/bin/busybox": os.path.join(BUILD, "busybox/bin/busybox"), **files}.items():
        to = root + to
        os.makedirs(os.path.dirname(to), exist_ok=True)
        if path.startswith(BUILD):
            # Without what names the checkout's path: its length would move things in memory.
            subprocess.run(["strip", "--strip-debug", "-o", to, path], check=True)
        else:
            shutil.copy(path, to)
    with open(os.path.join(root, "init"), "w") as f:
        f.write(INIT.format(script=script))
    os.chmod(os.path.join(root, "init"), 0o755)
    names = sorted(
        os.path.relpath(os.path.join(d, name), root)
        for d, dirs, files in os.walk(root) for name in dirs + files
    )
    # Its bytes decide where things lie in the guest's memory.
    for name in names:
        os.utime(os.path.join(root, name), (0, 0))
    return subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "--reproducible"],
        cwd=root, input="\n".join(names).encode(), stdout=subprocess.PIPE, check=True,
    ).stdout


def boot(kernel, name, script, files, timeout, qemu=()):
    """Run a shell script, which loads /myepoll.ko, in a guest with files {there: here}.

    Its output stays in build/bench/KERNEL-NAME.out. Return the kernel's release,
    {(operation, way): cost} of the lines "WAY OPERATION<tab>COST" in it, the median where
    there are several, and all of it; or raise.
    """
    release, vmlinuz = image(kernel)
    files = {"/myepoll.ko": os.path.join(BUILD, "module", kernel, "myepoll.ko"), **files}
    os.makedirs(OUT, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUT) as scratch:
        root, initrd = os.path.join(scratch, "root"), os.path.join(scratch, "initrd")
        os.mkdir(root)
        with open(initrd, "wb") as f:
            f.write(make_initramfs(script, files, root))
        log, out = (os.path.join(OUT, f"{kernel}-{name}.{end}") for end in ("log", "out"))
        subprocess.run(
            QEMU + [*qemu, "-kernel", vmlinuz, "-initrd", initrd, "-append", PARAMETERS,
                    "-serial", "file:" + log, "-serial", "file:" + out],
            stdin=subprocess.DEVNULL, timeout=timeout, check=True,
        )
    complained = subprocess.run([os.path.join(TOP, "scripts", "judge-log"), log],
                                stdout=sys.stderr, check=False).returncode
    with open(out, errors="replace") as f:
        said = f.read().replace("\r", "")
    if complained or "status 0\n" not in said or not said.endswith("end\n"):
        raise RuntimeError(f"the guest failed: see {log} and {out}; it ends with: {said[-300:]}")
    costs = {}
    for line in said.splitlines():
        found = re.match(r"(\w+) (.+)\t([\d.]+)$", line)
        if found:
            costs.setdefault((found[2], found[1]), []).append(float(found[3]))
    return release, {what: statistics.median(many) for what, many in costs.items()}, said
