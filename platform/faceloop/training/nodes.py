"""A training on several machines: the first runs the stage and publishes, the others lend their ranks to it."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

from faceloop.training.course import Course, Fitted
from faceloop.training.launching import (
    JOB,
    Torchrun,
    first_fault,
    forget_faults,
    run_ranks,
    silent,
    start_torchrun,
)
from faceloop.training.roll_call import Invitation, Line, RollCall
from facestore.errors import ConfigError, StageError

ADDRESS, PATIENCE_S = "FACELOOP_TRAIN_ADDRESS", "FACELOOP_TRAIN_PATIENCE_S"
_PATIENCE_S = 600.0  # that machines wait for one another at the beginning
_LOOK_S = 0.5
_LAST_WORDS_S = 5.0  # how long a failure waits for what another machine says to it
_END_S = 30.0  # that torchrun has to end by itself when all is done


def run_everywhere(course: Course, run_key: str, say: Callable[[str], None]) -> Fitted:
    """Run a training of more than one rank, on this machine and the others that its params count on.

    Raises ConfigError, StageError: see `lead` and `run_ranks`.
    """
    params = course.params
    course.write()
    if params.nodes == 1:
        run_ranks(course.folder, params.ranks, say, threads=course.threads)
    else:
        lead(
            course.folder, run_key=run_key, nodes=params.nodes, ranks=params.ranks, threads=course.threads,
            environ=os.environ, say=say,
        )  # fmt: skip
    return Fitted.read(course.folder)


def lead(
    folder: Path, *, run_key: str, nodes: int, ranks: int, threads: int, environ: Mapping[str, str],
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Run the job written in `folder` as node 0 of `nodes`, `ranks` processes on each; `threads` are of each machine.

    Raises ConfigError where nobody said how the others reach this machine; StageError, within seconds of it, when a
    rank fails or a node is gone, and when one did not come.
    """
    address, patience_s = _address(environ, nodes), _patience_s(environ)
    forget_faults(folder)
    with RollCall(folder.parent, address, run_key, nodes=nodes, ranks=ranks, threads=threads) as roll:
        say(f"train: waits for {nodes - 1} more nodes")
        roll.gather(patience_s)
        torchrun = _start(folder, roll.invitation, 0)
        roll.start(torchrun.stop)
        if torchrun.listen(say):
            lost = roll.why(_LAST_WORDS_S)
            raise StageError(f"train: {lost or first_fault(folder) or roll.fault or silent(torchrun)}")
        roll.dismiss()


def attend(training: Path, node: int, *, patience_s: float, say: Callable[[str], None]) -> None:
    """Lend this machine's ranks, as node `node`, to the next training of the root whose folder of trainings it is.

    Ends with the first machine. Raises StageError when no training began in `patience_s`, a rank failed, the first
    machine refuses this one, or is gone.
    """
    invitation, line = _joined(training, node, patience_s)
    try:
        say(f"train-node: node {node} of {invitation.nodes}, {invitation.ranks} ranks")
        if not _heard(line, patience_s).get("go"):
            raise StageError("train-node: the first machine gave the training up before it began; see what it said")
        torchrun = _start(training / invitation.run_key, invitation, node)
        _work(torchrun, training / invitation.run_key, line, say)
    finally:
        line.close()


def _work(torchrun: Torchrun, folder: Path, line: Line, say: Callable[[str], None]) -> None:
    told: list[str] = []

    def follow() -> None:
        words = line.hear(None)
        told.append("done" if words and "done" in words else "gone")
        if told[0] == "done":
            try:
                torchrun.process.wait(_END_S)
            except subprocess.TimeoutExpired:
                torchrun.stop()
        else:
            torchrun.stop()

    follower = Thread(target=follow, daemon=True)
    follower.start()
    code = torchrun.listen(say)
    if "done" in told or code == 0:
        line.say(ended=0)
        return
    if told:
        raise StageError("train-node: the first machine is gone, or its training failed; see what it said")
    why = first_fault(folder) or silent(torchrun)
    line.say(ended=code, why=why)
    raise StageError(f"train-node: {why}")


def _joined(training: Path, node: int, patience_s: float) -> tuple[Invitation, Line]:
    """A connection to who invites. What an attempt that was killed left behind is passed over."""
    until = time.monotonic() + patience_s
    while True:
        invitation = Invitation.read(training)
        if invitation is not None and (training / invitation.run_key / JOB).is_file():
            try:
                line = Line(socket.create_connection((invitation.address, invitation.port), timeout=_LAST_WORDS_S))
            except OSError:  # not yet resolved, not yet there, or there no more
                pass
            else:
                line.say(token=invitation.token, node=node)
                words = _heard(line, patience_s)
                if words.get("welcome"):
                    return invitation, line
                line.close()
                if "no" in words:
                    raise StageError(f"train-node: {words['no']}")
        if time.monotonic() > until:
            raise StageError(
                f"train-node: no training began in {patience_s:g} s; run `faceloop run train` with train.nodes above "
                "1 on the first machine, and check that both see one root"
            )
        time.sleep(_LOOK_S)


def _heard(line: Line, patience_s: float) -> dict[str, object]:
    """What the first machine says next; nothing where it is gone, or silent for so long."""
    try:
        return line.hear(patience_s) or {}
    except TimeoutError:
        return {}


def _start(folder: Path, invitation: Invitation, node: int) -> Torchrun:
    where = [
        "--nnodes", str(invitation.nodes), "--node-rank", str(node), "--rdzv-id", invitation.token[:8],
        "--master-addr", invitation.address, "--master-port", str(invitation.master_port),
    ]  # fmt: skip
    is_local = _is_loopback(invitation.address)
    return start_torchrun(
        folder, invitation.ranks, where, threads=invitation.threads // invitation.ranks, is_local=is_local
    )


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:  # a name
        return False


def _address(environ: Mapping[str, str], nodes: int) -> str:
    address = environ.get(ADDRESS)
    if not address:
        raise ConfigError(f"train.nodes is {nodes}: set {ADDRESS} to the name by which they reach this machine")
    return address


def _patience_s(environ: Mapping[str, str]) -> float:
    text = environ.get(PATIENCE_S) or str(_PATIENCE_S)
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{PATIENCE_S} = {text!r}: give seconds") from None
