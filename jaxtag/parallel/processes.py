"""How many processes there are, and which of them this is, read from the environment and nothing else.

plain        JAXTAG_COORDINATOR=host:port JAXTAG_PROCESSES=n JAXTAG_PROCESS=i
SLURM        what srun gives a step of more than one task: SLURM_STEP_NUM_TASKS, SLURM_PROCID, SLURM_STEP_NODELIST,
             SLURM_JOB_ID, SLURM_STEP_ID; and for GPUs of a node that its tasks all see, SLURM_LOCALID and
             SLURM_STEP_TASKS_PER_NODE. A script under sbatch itself is one process.
JobSet       JOBSET_NAME and REPLICATED_JOB_NAME (Kubernetes' downward API), JOB_COMPLETION_INDEX (of an indexed job),
             and JAXTAG_PROCESSES, the job's completions: the coordinator is the first pod, by its name in the set's
             subdomain
Cloud TPU    TPU_WORKER_ID and TPU_WORKER_HOSTNAMES (or TPU_PROCESS_ADDRESSES) of more than one worker; of several
             slices also MEGASCALE_NUM_SLICES, MEGASCALE_SLICE_ID and MEGASCALE_COORDINATOR_ADDRESS

The first of these that is there counts; without any there is one process.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jaxtag.errors import JaxtagError

PORT = 8476  # of the coordinator, where the environment names none
SLURM_PORTS = 61440, 4096  # of the coordinator under SLURM: from the first, by the numbers of job and step
MOST = 1 << 16  # processes, and nodes of a list
START_SECONDS, STALL_SECONDS = 300.0, 1800.0


@dataclass(frozen=True)
class Processes:
    """Processes that work together on one command.

    Attributes:
      count: how many.
      index: which this is, from 0; 0 is the coordinator.
      host, port: where process 0 listens.
      told_by: who said so: `JAXTAG_*`, `SLURM`, `JobSet` or `Cloud TPU`.
      devices: of this machine's, those that are this process's; None is all that it sees.
    """

    count: int
    index: int
    host: str
    port: int
    told_by: str
    devices: tuple[int, ...] | None = None

    @property
    def address(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def found(environ: Mapping[str, str]) -> Processes | None:
    """The processes that `environ` speaks of; None where this one is alone.

    Raises:
      JaxtagError: a variable is missing, is no number, or names a process that cannot be.
    """
    for read in (_plain, _slurm, _jobset, _cloud_tpu):
        if processes := read(environ):
            return processes if processes.count > 1 else None
    return None


def seconds_of(environ: Mapping[str, str], name: str, default: float) -> float:
    """A number of seconds from the variable `name`, 0 or more.

    Raises:
      JaxtagError: it is something else.
    """
    text = environ.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise JaxtagError(f"{name} is {text!r}, which is no number of seconds", f"such as {name}={default:g}")
    return value


def hosts(listed: str) -> Iterator[str]:
    """The host names of a SLURM node list, such as `login,node[01-03,07],rack[1-2]n[1-4]`, in its order.

    Raises:
      JaxtagError: it is no such list, or of more than 65,536 hosts.
    """
    wrong = JaxtagError(f"{listed[:200]!r} is no list of nodes that SLURM makes", "such as node[01-03,07]")
    if not re.fullmatch(r"(?:[^\[\],\s]|\[[\d,-]+\])+(?:,(?:[^\[\],\s]|\[[\d,-]+\])+)*", listed):
        raise wrong
    count = 0
    for name in re.findall(r"(?:[^\[\],]|\[[^\]]*\])+", listed):
        for host in _expanded(name, wrong):
            count += 1
            if count > MOST:
                raise wrong
            yield host


def _expanded(name: str, wrong: JaxtagError) -> Iterator[str]:
    head, bracket, rest = name.partition("[")
    if not bracket:
        yield name
        return
    inner, _, tail = rest.partition("]")
    for part in inner.split(","):
        bounds = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if bounds is None:
            raise wrong
        first, last = bounds[1], bounds[2] or bounds[1]
        if int(last) < int(first) or int(last) - int(first) >= MOST:
            raise wrong
        for number in range(int(first), int(last) + 1):
            for end in _expanded(tail, wrong):
                yield f"{head}{number:0{len(first)}d}{end}"


def _plain(environ: Mapping[str, str]) -> Processes | None:
    """From the variables of jaxtag's own."""
    if not any(environ.get(name) for name in ("JAXTAG_COORDINATOR", "JAXTAG_PROCESS")):
        return None
    address = _needed(environ, "JAXTAG_COORDINATOR", "JAXTAG_*")
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536) or re.search(r"[\s/]", host):
        raise JaxtagError(f"JAXTAG_COORDINATOR is {address!r}", "give process 0's host and a free port, host:port")
    count, index = _number(environ, "JAXTAG_PROCESSES", "JAXTAG_*"), _number(environ, "JAXTAG_PROCESS", "JAXTAG_*")
    return _checked(Processes(count, index, host.strip("[]"), int(port), "JAXTAG_*"), "JAXTAG_PROCESS")


def _slurm(environ: Mapping[str, str]) -> Processes | None:
    """From what srun tells each task of a step."""
    if not environ.get("SLURM_STEP_NUM_TASKS") or "SLURM_PROCID" not in environ:
        return None
    count, index = (_number(environ, name, "SLURM") for name in ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"))
    if count < 2:
        return None
    listed = environ.get("SLURM_STEP_NODELIST") or _needed(environ, "SLURM_JOB_NODELIST", "SLURM")
    step = environ.get("SLURM_STEP_ID", "")
    first, many = SLURM_PORTS
    port = first + (_number(environ, "SLURM_JOB_ID", "SLURM") + 613 * (int(step) if step.isdecimal() else 0)) % many
    return _checked(Processes(count, index, next(hosts(listed)), port, "SLURM", _share(environ)), "SLURM_PROCID")


def _share(environ: Mapping[str, str]) -> tuple[int, ...] | None:
    """A task's part of its node's GPUs, where the node's tasks all see all of them and could share them evenly."""
    seen = [g for g in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if g.strip()]
    per_node = environ.get("SLURM_STEP_TASKS_PER_NODE") or environ.get("SLURM_TASKS_PER_NODE", "")
    parts = re.findall(r"(\d{1,6})(?:\(x(\d{1,5})\))?", per_node)
    places = [place for tasks, times in parts for place in [int(tasks)] * int(times or 1)]
    node, local = (environ.get(name, "") for name in ("SLURM_NODEID", "SLURM_LOCALID"))
    if not (node.isdecimal() and local.isdecimal() and int(node) < len(places)):
        return None
    tasks, mine = places[int(node)], int(local)
    if tasks < 2 or len(seen) < tasks or len(seen) % tasks or mine >= tasks:
        return None
    each = len(seen) // tasks
    return tuple(range(mine * each, (mine + 1) * each))


def _jobset(environ: Mapping[str, str]) -> Processes | None:
    """From what Kubernetes tells each pod of an indexed job of a JobSet."""
    name = environ.get("JOBSET_NAME")
    if not name or "JOB_COMPLETION_INDEX" not in environ:
        return None
    job = _needed(environ, "REPLICATED_JOB_NAME", "JobSet")
    count, index = (_number(environ, n, "JobSet") for n in ("JAXTAG_PROCESSES", "JOB_COMPLETION_INDEX"))
    return _checked(Processes(count, index, f"{name}-{job}-0-0.{name}", PORT, "JobSet"), "JOB_COMPLETION_INDEX")


def _cloud_tpu(environ: Mapping[str, str]) -> Processes | None:
    """From what a TPU's virtual machine, or Kubernetes Engine, tells each worker of a slice."""
    listed = environ.get("TPU_PROCESS_ADDRESSES") or environ.get("TPU_WORKER_HOSTNAMES", "")
    workers = [w.strip() for w in listed.split(",") if w.strip()]
    slices = _number(environ, "MEGASCALE_NUM_SLICES", "Cloud TPU") if environ.get("MEGASCALE_NUM_SLICES") else 1
    if "TPU_WORKER_ID" not in environ or len(workers) * slices < 2:
        return None
    worker, name, place = _number(environ, "TPU_WORKER_ID", "Cloud TPU"), "TPU_WORKER_ID", 0
    host = workers[0]
    if slices > 1:
        place = _number(environ, "MEGASCALE_SLICE_ID", "Cloud TPU")
        host = _needed(environ, "MEGASCALE_COORDINATOR_ADDRESS", "Cloud TPU")
    if worker >= len(workers):
        raise JaxtagError(f"{name} is {worker}, of {len(workers)} workers; the first is 0", "see TPU_WORKER_HOSTNAMES")
    host = host if host.count(":") > 1 else host.partition(":")[0]  # its port is the TPU runtime's own
    index = place * len(workers) + worker
    return _checked(Processes(slices * len(workers), index, host, PORT, "Cloud TPU"), "MEGASCALE_SLICE_ID")


def _needed(environ: Mapping[str, str], name: str, told_by: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise JaxtagError(f"{name} is not set, but other variables of {told_by} are", "set it, or unset those")
    return value


def _number(environ: Mapping[str, str], name: str, told_by: str) -> int:
    text = _needed(environ, name, told_by)
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise JaxtagError(f"{name} is {text[:40]!r}, which is no whole number of 0 or more", f"as {told_by} has it")
    return int(text)


def _checked(processes: Processes, name: str) -> Processes:
    """Refuse a process that is not among those that there are."""
    if not 1 <= processes.count <= MOST:
        raise JaxtagError(f"{processes.told_by} says there are {processes.count} processes", f"from 1 to {MOST}")
    if processes.index >= processes.count:
        raise JaxtagError(
            f"{name} is {processes.index}, of {processes.count} processes; the first is 0, the last "
            f"{processes.count - 1}",
            "give each process a number of its own from these",
        )
    return processes
