#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What tests/suites/life does with the module: one job, named on the command line.

A job that holds something says "ready" and holds it until its input ends. The
exit status is 0 if all was as it should be.
"""

import ctypes
import fcntl
import os
import select
import socket
import struct
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)

SYS_FADVISE64 = 221  # x86-64
CREATE = 0x4008E700  # the numbers and layouts of uapi/myepoll.h
CTL = 0x4018E701
WAIT = 0x4020E702
FEATURES = 0x8008E703
FAST_WAIT = 0x6D790002
FAST_TURN = 0x6D790003
ADD, DEL = 1, 2
EVENT_SIZE = 12
TURN_SIZE = 56


def ioctl(fd, number, *fields):
    """ioctl with a struct, whose call answers with a number"""
    return fcntl.ioctl(fd, number, bytearray(struct.pack(*fields)))


def create():
    with open("/dev/myepoll", "rb", buffering=0) as device:
        return ioctl(device, CREATE, "II", 0o2000000, 0)


def ctl(ep, op, fd, events=select.EPOLLIN):
    ioctl(ep, CTL, "iiIIQ", op, fd, events & 0xFFFFFFFF, 0, fd)


def wait(ep, timeout_ns=0, most=16):
    room = ctypes.create_string_buffer(EVENT_SIZE * most)
    n = ioctl(ep, WAIT, "QqQiI", ctypes.addressof(room), timeout_ns, 0, most, 0)
    return [struct.unpack_from("=IQ", room, i * EVENT_SIZE)[1] for i in range(n)]


def eventfd(count=0):
    return os.eventfd(count, os.EFD_NONBLOCK) if hasattr(os, "eventfd") else libc.eventfd(count, 0o4000)


def put(fd):
    os.write(fd, struct.pack("Q", 1))


def hold():
    print("ready", flush=True)
    sys.stdin.read()


def use():
    ep = create()
    fd = eventfd()
    ctl(ep, ADD, fd)
    assert wait(ep) == []
    put(fd)
    assert wait(ep) == [fd]
    ctl(ep, DEL, fd)
    assert wait(ep) == []
    ctl(ep, ADD, fd)
    os.close(fd)  # the close hook
    assert wait(ep) == []
    assert "tfd" not in open(f"/proc/self/fdinfo/{ep}").read()
    os.close(ep)


def watched(ep):
    with open(f"/proc/self/fdinfo/{ep}") as f:
        return sorted(int(line.split()[1]) for line in f if line.startswith("tfd:"))


def seen(rounds=5):
    """Files of all kinds end in all ways, and their watches with them, at once"""
    ep, other = create(), create()

    def gone(fd, how, close):
        for instance in (ep, other):
            ctl(instance, ADD, fd, select.EPOLLIN | select.EPOLLOUT)
        assert watched(ep) == watched(other) == [fd]
        close()
        assert watched(ep) == watched(other) == [], f"{how}: the close was not seen"
        assert wait(ep) == wait(other) == []

    def child(fd):
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            while os.getppid() == parent:  # until killed, with a copy of fd
                time.sleep(0.1)
            os._exit(0)
        os.close(fd)
        assert watched(ep) == [fd], "a copy is open"
        os.kill(pid, 9)
        os.waitpid(pid, 0)

    def passed_on(fd):
        a, b = socket.socketpair()
        socket.send_fds(a, [b"x"], [fd])
        os.close(fd)
        assert watched(ep) == [fd], "it is on its way through a socket"
        a.close()
        b.close()

    def overwritten(fd):
        zero = os.open("/dev/zero", os.O_RDONLY)
        os.dup2(zero, fd)
        os.close(zero)

    for _ in range(int(rounds)):
        fd = eventfd(1)
        gone(fd, "eventfd", lambda: os.close(fd))
        r, w = os.pipe()
        gone(r, "pipe", lambda: os.close(r))
        gone(w, "pipe", lambda: os.close(w))
        a, b = socket.socketpair()
        gone(a.fileno(), "socket", a.close)
        b.close()
        fd = eventfd(1)
        gone(fd, "exit", lambda: child(fd))
        fd = eventfd(1)
        gone(fd, "SCM_RIGHTS", lambda: passed_on(fd))
        fd = eventfd(1)
        gone(fd, "dup2", lambda: overwritten(fd))
        os.close(fd)
        fd = create()
        gone(fd, "an instance", lambda: os.close(fd))
    os.close(ep)
    os.close(other)


def bpf(kind, function):
    """A BPF program at the entry of a kernel's function, on a kprobe or by fentry; until killed.
    Says "ready FD"; the kernel counts its runs in fdinfo."""

    def call(cmd, attr):
        room = ctypes.create_string_buffer(attr.ljust(160, b"\0"))
        r = libc.syscall(321, cmd, room, len(room))
        if r < 0:
            raise OSError(ctypes.get_errno(), f"bpf({cmd})")
        return r

    def type_of(name):
        """BTF's number of a kernel function; to find it takes seconds, so it is kept"""
        kept = f"/tmp/btf-{name.decode()}"
        if os.path.exists(kept):
            with open(kept) as f:
                return int(f.read())
        with open("/sys/kernel/btf/vmlinux", "rb") as f:
            btf = f.read()
        length, at, size, strings = struct.unpack_from("IIII", btf, 4)
        wanted = btf.index(b"\0" + name + b"\0", length + strings) + 1 - length - strings
        at += length
        end = at + size
        extra = {1: lambda n: 4, 3: lambda n: 12, 4: lambda n: 12 * n, 5: lambda n: 12 * n}
        extra |= {6: lambda n: 8 * n, 13: lambda n: 8 * n, 14: lambda n: 4, 15: lambda n: 12 * n}
        extra |= {17: lambda n: 4, 19: lambda n: 12 * n}
        unpack = struct.Struct("II").unpack_from
        number = 0
        while at < end:
            number += 1
            name_at, info = unpack(btf, at)
            kind = info >> 24 & 31
            if kind == 12 and name_at == wanted:
                with open(kept, "w") as f:
                    f.write(str(number))
                return number
            at += 12 + (extra[kind](info & 0xFFFF) if kind in extra else 0)
        raise AssertionError("no such function in BTF")

    code = ctypes.create_string_buffer(struct.pack("QQ", 0xB7, 0x95))  # r0 = 0; exit
    gpl = ctypes.create_string_buffer(b"GPL")
    program, attach, target = {"kprobe": (2, 0, 0), "fentry": (26, 24, 1)}[kind]
    if target:
        target = type_of(function.encode())
    attr = struct.pack("IIQQIIQII", program, 2, ctypes.addressof(code), ctypes.addressof(gpl), 0, 0, 0, 0, 0)
    attr += bytes(16) + struct.pack("IIIIQIIQII", 0, attach, 0, 0, 0, 0, 0, 0, 0, target)
    prog = call(5, attr)
    if kind == "fentry":
        call(17, struct.pack("QI", 0, prog))
    else:
        with open("/sys/bus/event_source/devices/kprobe/type") as f:
            pmu = int(f.read())
        name = ctypes.create_string_buffer(function.encode())
        attr = struct.pack("IIQQQQQIIQQ", pmu, 128, 0, 0, 0, 0, 0, 0, 0, ctypes.addressof(name), 0)
        room = ctypes.create_string_buffer(attr.ljust(128, b"\0"))
        event = libc.syscall(298, room, -1, 0, -1, 0)
        if event < 0:
            raise OSError(ctypes.get_errno(), "perf_event_open")
        fcntl.ioctl(event, 0x40042408, prog)  # SET_BPF
        fcntl.ioctl(event, 0x2400, 0)  # ENABLE
    print("ready", prog, flush=True)
    while True:
        time.sleep(60)


def churn():
    instances = [create() for _ in range(20)]
    for _ in range(20):
        fds = [eventfd(1) for _ in range(20)]
        for ep in instances:
            for fd in fds:
                ctl(ep, ADD, fd)
            assert len(wait(ep, most=64)) == 20
        for fd in fds:
            os.close(fd)
    for outer, inner in zip(instances[:4], instances[1:4]):
        ctl(outer, ADD, inner)
    fds = [eventfd() for _ in range(50)]
    for ep in instances:
        for fd in fds:
            ctl(ep, ADD, fd)
    # The rest is for exit to close


def instance():
    ep = create()
    fd = eventfd(1)
    ctl(ep, ADD, fd)
    hold()
    assert wait(ep) == [fd]


def device():
    with open("/dev/myepoll", "rb", buffering=0):
        hold()


def waiter():
    ep = create()
    fd = eventfd()
    ctl(ep, ADD, fd)
    got = []
    thread = threading.Thread(target=lambda: got.extend(wait(ep, -1)), daemon=True)
    thread.start()
    while not thread.native_id:
        time.sleep(0.001)
    while not open(f"/proc/self/task/{thread.native_id}/syscall").read().startswith("16 "):
        time.sleep(0.001)
    hold()
    put(fd)
    thread.join(20)
    assert got == [fd]


def files():
    ep = create()
    fds = [eventfd() for _ in range(10)]
    pipes = [os.pipe() for _ in range(10)]
    pairs = [socket.socketpair() for _ in range(10)]
    native = select.epoll()
    watched = fds + [r for r, _ in pipes] + [a.fileno() for a, _ in pairs]
    for fd in watched:
        ctl(ep, ADD, fd)
        native.register(fd, select.EPOLLIN)
    os.close(ep)
    hold()  # the module goes meanwhile
    assert native.poll(0) == []
    for fd in fds:
        put(fd)
    for r, w in pipes:
        os.write(w, b"x")
    for a, b in pairs:
        b.send(b"x")
    assert sorted(fd for fd, _ in native.poll(0)) == sorted(watched)
    for fd in fds:
        os.read(fd, 8)
        os.close(fd)
    for r, w in pipes:
        os.read(r, 1)
        os.close(r)
        os.close(w)
    for a, b in pairs:
        a.recv(1)
        a.close()
        b.close()
    assert native.poll(0) == []


def dying():
    """An instance that is closed while a file that it watched has no references left, and
    is not closed yet: the thread that dropped the last is asleep in the same call."""
    os.setresuid(65534, 65534, 65534)
    libc.prctl(4, 1)  # PR_SET_DUMPABLE: what it does can be read in /proc
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ep, fd = create(), eventfd(1)
    ctl(ep, ADD, fd)
    socket.send_fds(a, [b"x"], [fd])
    os.close(fd)
    # struct mmsghdr, twice, without room for descriptors
    room = ctypes.create_string_buffer(2)
    data = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(room), 1))
    header = struct.pack("QQQQQQQQ", 0, 0, ctypes.addressof(data), 1, 0, 0, 0, 0)
    headers = ctypes.create_string_buffer(header * 2)
    thread = threading.Thread(target=lambda: libc.recvmmsg(b.fileno(), headers, 2, 0, None), daemon=True)
    thread.start()
    while True:
        try:
            b.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            break
        time.sleep(0.001)
    while not open(f"/proc/self/task/{thread.native_id}/syscall").read().startswith("299 "):
        time.sleep(0.001)
    assert wait(ep) == []
    os.close(ep)
    hold()
    a.send(b"x")
    thread.join(20)
    assert not thread.is_alive()


def closes():
    """Until killed: opens, watches with the module if it is there, closes."""
    while True:
        fds = [eventfd() for _ in range(50)]
        try:
            ep = create()
            for fd in fds:
                ctl(ep, ADD, fd)
            os.close(ep)
        except OSError:
            pass  # not loaded, or just on its way
        for fd in fds:
            os.close(fd)
        time.sleep(0.05)  # rmmod needs a moment at which nothing is open


def instances():
    """Until killed: makes instances, if the module is there, and lets them go."""
    while True:
        fds = [eventfd(1) for _ in range(10)]
        eps = []
        try:
            for _ in range(4):
                eps.append(create())
                for fd in fds:
                    ctl(eps[-1], ADD, fd)
                assert len(wait(eps[-1])) == 10
        except OSError:
            pass  # not loaded, or just on its way
        for fd in fds[:5] + eps[:2] + fds[5:] + eps[2:]:  # some watch still, some are watched
            os.close(fd)
        time.sleep(0.2)  # rmmod needs a moment at which nothing is open


def features(fd):
    return struct.unpack("Q", fcntl.ioctl(fd, FEATURES, bytes(8)))[0]


def fast_wait(ep):
    room = ctypes.create_string_buffer(EVENT_SIZE)
    r = libc.syscall(SYS_FADVISE64, ep, ctypes.c_void_p(ctypes.addressof(room)), ctypes.c_long(1), FAST_WAIT)
    return -ctypes.get_errno() if r < 0 else r


def fast_turn(ep):
    turn = ctypes.create_string_buffer(TURN_SIZE)  # of nothing
    r = libc.syscall(SYS_FADVISE64, ep, ctypes.c_void_p(ctypes.addressof(turn)), ctypes.c_long(TURN_SIZE), FAST_TURN)
    return -ctypes.get_errno() if r < 0 else r


def fast_door_open():
    ep = create()
    assert features(ep) & 1
    assert fast_wait(ep) == 0
    assert fast_turn(ep) == 0


def fast_door_closed():
    ep = create()
    assert not features(ep) & 1
    assert fast_wait(ep) == -22  # EINVAL
    assert fast_turn(ep) == -22


def create_fails_with(errno):
    try:
        create()
    except OSError as e:
        assert e.errno == int(errno)
    else:
        raise AssertionError("it was made")


def quota(limit):
    ep = create()
    for _ in range(int(limit)):
        ctl(ep, ADD, eventfd())
    try:
        ctl(ep, ADD, eventfd())
    except OSError as e:
        assert e.errno == 28  # ENOSPC
    else:
        raise AssertionError("no limit")


globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
