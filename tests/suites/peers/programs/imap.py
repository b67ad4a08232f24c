# SPDX-License-Identifier: GPL-2.0
"""Mail through an IMAP server.

usage: imap.py PORT USERS MESSAGES

For each user at once: messages are stored and read back, while another connection of
the same user waits to be told of them (IDLE). Says "N messages" and waits for its input
to end with all those connections open.
"""

import imaplib
import os
import sys
import threading

imaplib.Debug = 0
port, users, messages = map(int, sys.argv[1:])
waiting, failed = [], []


def line_of(imap, what):
    """Read on until a line has it."""
    while True:
        line = imap.readline()
        if not line:
            raise OSError("closed")
        if what in line:
            return


def one(number):
    def connect():
        imap = imaplib.IMAP4("127.0.0.1", port, timeout=60)
        imap.login(f"user{number}", "secret")
        imap.select("INBOX")
        return imap

    try:
        idle, imap = connect(), connect()
        idle.send(b"x IDLE\r\n")
        line_of(idle, b"+ idling")
        for n in range(messages):
            mail = b"Subject: %d\r\n\r\n" % n + os.urandom(3000).hex().encode() + b"\r\n"
            imap.append("INBOX", None, None, mail)
            line_of(idle, b"%d EXISTS" % (n + 1))
            imap.noop()
            _, got = imap.fetch(str(n + 1), "(BODY[])")
            if got[0][1] != mail:
                raise OSError(f"message {n} differs")
        imap.logout()
        waiting.append(idle)
    except (OSError, imaplib.IMAP4.error) as error:
        failed.append(f"error: user {number}: {error!r}")


threads = [threading.Thread(target=one, args=[n]) for n in range(users)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("\n".join(failed + [f"{len(waiting) * messages} messages"]), flush=True)
sys.stdin.read()
sys.exit(bool(failed))
