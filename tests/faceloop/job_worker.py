"""`job_worker.py jobs work JOB --attempt N --root ROOT --params FILE`: a real worker whose program waits for a file.

The program writes a line into ROOT/started, starts a process of its own, and ends once ROOT/go is there. Called as
`job_worker.py submit ROOT`, it submits such a job.
"""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

PROGRAM = "program"


def _program(root: Path, out: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with (root / "started").open("a") as log:
        log.write(f"{json.dumps([out.name, child.pid])}\n")
    while not (root / "go").exists():
        time.sleep(0.02)
    child.kill()
    child.wait()
    (out / "result.json").write_text(json.dumps({"program": "waits", "by": out.name}))


def main(arguments: list[str]) -> None:
    if arguments[0] == PROGRAM:
        _program(Path(arguments[1]), Path(arguments[2]))
        return
    from faceloop.commands.options import workspace
    from faceloop.jobs.local_launcher import LocalLauncher
    from faceloop.jobs.programs import PROGRAMS, Order
    from faceloop.jobs.submitting import job_request, submit
    from faceloop.jobs.working import work_on

    def argv(order: Order) -> list[str]:
        return [sys.executable, __file__, PROGRAM, str(order.root), str(order.out)]

    PROGRAMS["train"] = replace(PROGRAMS["train"], argv=argv)  # the same job as whoever asks for it by name
    if arguments[0] == "submit":
        root = Path(arguments[1])
        work = workspace(root, root / "params.json", None)
        request = job_request(work, "train", revision=None, parameter_set="default")
        submit(work, request, LocalLauncher(command=(sys.executable, __file__)))
        return
    given = dict(zip(arguments[3::2], arguments[4::2], strict=True))
    work = workspace(Path(given["--root"]), Path(given["--params"]), None)
    work_on(work, arguments[2], int(given["--attempt"]), revision=None, clock=time.monotonic)


if __name__ == "__main__":
    main(sys.argv[1:])
