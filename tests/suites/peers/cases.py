# SPDX-License-Identifier: GPL-2.0
"""Run unittest cases and write a verdict per case.

usage: cases.py VERDICTS WITHOUT NAME...

NAME is a module, a class or a single case; cases whose name matches the
regular expression WITHOUT are left out. VERDICTS gets a line per case: its
verdict, how long it took, its name. On standard output are tracebacks, and
whatever the cases print.
"""

import re
import sys
import time
import unittest


class Verdicts(unittest.TestResult):
    """unittest's own text form mixes with what the cases print."""

    def __init__(self, file):
        super().__init__()
        self.file = file

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()
        self.verdict = "ok"

    def stopTest(self, test):
        super().stopTest(test)
        print(self.verdict, f"{time.monotonic() - self.began:.1f}", test.id(),
              file=self.file, flush=True)

    def worse(self, verdict, test, error):
        self.verdict = verdict
        print(f"{verdict} {test.id()}\n{self._exc_info_to_string(error, test)}", flush=True)
        # A fixture of a whole class or module: no case of its own.
        if not hasattr(test, "_testMethodName"):
            print(verdict, "0.0", test.id(), file=self.file, flush=True)

    def addError(self, test, err):
        self.worse("error", test, err)

    def addFailure(self, test, err):
        self.worse("fail", test, err)

    def addSubTest(self, test, subtest, err):
        if err:
            self.worse("fail", test, err)

    def addSkip(self, test, reason):
        self.verdict = "skip"
        if not hasattr(test, "_testMethodName"):
            print("skip", "0.0", test.id(), file=self.file, flush=True)

    def addExpectedFailure(self, test, err):
        self.verdict = "xfail"

    def addUnexpectedSuccess(self, test):
        self.verdict = "xpass"


def cases(suite):
    """All that are in a suite of suites."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from cases(test)
        else:
            yield test


def main():
    without = re.compile(sys.argv[2])
    loaded = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[3:])
    suite = unittest.TestSuite(t for t in cases(loaded) if not without.search(t.id()))
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        suite.run(Verdicts(file))


main()
