"""The launchers' options, dry runs, manifests, batch scripts and XLA flag files."""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.launching import LAUNCH, ROOT, launch, within

SCRIPTS = ("local", "slurm", "tpu_vm", "gke")
FLAG_FILES = sorted((LAUNCH / "xla_flags").glob("*.txt"))

# The fields of a JobSet that are used here, as its public definition (jobset.x-k8s.io/v1alpha2) has them.
TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}


def thing(required: str, **fields: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "additionalProperties": False, "properties": fields}


RULE = thing(
    "name action",
    name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
    action={"enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]},
    onJobFailureReasons={"type": "array", "items": TEXT, "uniqueItems": True},
)
JOBSET = thing(
    "apiVersion kind metadata spec",
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata={"type": "object", "required": ["name", "namespace"]},
    spec=thing(
        "replicatedJobs",
        ttlSecondsAfterFinished=COUNT,
        network=thing("", enableDNSHostnames={"type": "boolean"}, subdomain=TEXT),
        failurePolicy=thing("", maxRestarts=COUNT, rules={"type": "array", "items": RULE}),
        replicatedJobs={
            "type": "array",
            "minItems": 1,
            "items": thing("name template", name=TEXT, replicas=COUNT, template={"type": "object"}),
        },
    ),
)


def examples(script: str) -> list[list[str]]:
    """The examples of --help, as words."""
    text = launch(script, "--help", check=True).stdout.partition("examples:\n")[2]
    found = [shlex.split(line) for line in text.splitlines() if line.strip()]
    assert found and all(words[0] == f"launch/{script}.sh" for words in found)
    return [words[1:] for words in found]


def shellcheck(*files: Path) -> None:
    tool = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([str(tool), "-x", *map(str, files)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr


@pytest.fixture
def setup_files(tmp_path: Path) -> Path:
    """A folder with the files that examples name."""
    for name in ("setup.sh", "mounts.sh"):
        (tmp_path / name).write_text("export PLACE=here\n")
    return tmp_path


def test_shell_is_clean_and_short() -> None:
    files = sorted(LAUNCH.rglob("*.sh"))
    assert {f.stem for f in files} == {*SCRIPTS, "common"}
    shellcheck(*files)
    for file in files:
        assert len(file.read_text().splitlines()) < 300, file.name
        assert "eval " not in file.read_text()


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("local", ["--", "true"], "how many processes? Give -n"),
        ("local", ["-n", "2"], "no command; write it after --"),
        ("local", ["-n", "0", "--", "true"], "-n needs a whole number of at least 1, not '0'"),
        ("local", ["-n", "2", "jaxtag"], "unknown option 'jaxtag'"),
        ("local", ["-n", "2", "--xla-flags", "tpu_v9", "--", "true"], "no file"),
        ("local", ["-n", "2", "--platform", "tpu", "--", "true"], "--platform is cpu or gpu"),
        ("slurm", ["--", "true"], "how many nodes?"),
        ("slurm", ["--nodes"], "--nodes needs a value"),
        ("slurm", ["--nodes", "2", "--partition", "a b", "--dry-run", "--", "true"], "--partition takes letters"),
        ("slurm", ["--nodes", "2", "--setup", "absent.sh", "--", "true"], "no readable file 'absent.sh'"),
        (
            "slurm",
            ["--nodes=1", "--gpus-per-node=8", "--processes-per-node=3", "--dry-run", "--", "true"],
            "does not divide",
        ),
        ("tpu_vm", ["--name", "X", "--", "true"], "--name needs lower-case letters"),
        ("tpu_vm", ["--name", "x", "--zone", "z", "--type", "v7-8", "--", "true"], "--type is one like v5litepod-16"),
        ("tpu_vm", ["--name", "x", "--type", "v6e-8", "--", "true"], "which zone?"),
        ("gke", ["--name", "x", "--image", "i", "--pvc", "p", "--", "true"], "which accelerator?"),
        ("gke", ["--name", "x", "--image", "i", "--gpu", "h100", "--pvc", "p", "--dry-run", "--", "true"], "--nodes"),
        (
            "gke",
            ["--name", "x", "--image", "i", "--tpu", "v5e:4x5", "--pvc", "p", "--dry-run", "--", "true"],
            "no such slice",
        ),
        (
            "gke",
            ["--name", "x", "--image", "i", "--tpu", "v5p-24", "--pvc", "p", "--dry-run", "--", "true"],
            "no such slice",
        ),
        ("gke", ["--name", "x", "--image", "i", "--gpu", "h100", "--nodes", "1", "--", "true"], "--pvc or --bucket"),
        (
            "gke",
            ["--name=x", "--image=i", "--gpu=h100", "--pvc=p", "--env", "1=2", "--", "true"],
            "--env needs NAME=VALUE",
        ),
    ],
)
def test_mistakes_are_one_line(script: str, arguments: list[str], said: str, tmp_path: Path) -> None:
    done = launch(script, *arguments, cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(f"{script}.sh: ") and said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_examples_run_dry_without_any_tool(script: str, setup_files: Path) -> None:
    few = {"PATH": "/usr/bin:/bin" if not Path("/usr/bin/gcloud").exists() else path_without(setup_files)}
    for words in examples(script):
        split = words.index("--")
        done = launch(script, *words[:split], "--dry-run", *words[split:], cwd=setup_files, env=few)
        assert not done.returncode, done.stderr
        assert "jaxtag" in done.stdout and not (setup_files / "runs").exists()


def path_without(folder: Path) -> str:
    """A PATH on which there are the everyday tools and no gcloud, kubectl or sbatch."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("bash", "env", "cat", "sed", "grep", "awk", "date", "dirname", "tr", "find", "sort", "cksum"):
        if not (tools / name).exists():
            found = next(Path(p) / name for p in ("/usr/bin", "/bin") if (Path(p) / name).exists())
            (tools / name).symlink_to(found)
    return str(tools)


@pytest.mark.parametrize("words", examples("slurm"), ids=lambda w: " ".join(w[:4]))
def test_batch_scripts_are_clean(words: list[str], setup_files: Path) -> None:
    split = words.index("--")
    script = setup_files / "job.sbatch"
    script.write_text(within(launch("slurm", *words[:split], "--dry-run", *words[split:], cwd=setup_files).stdout))
    subprocess.run(["bash", "-n", str(script)], check=True)
    if setup := "setup.sh" in words:
        script.write_text(script.read_text().replace(f"source {setup_files}/setup.sh", "true"))
    shellcheck(script)
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash" and setup == ("true || exit 2" in lines)
    assert {"#SBATCH --requeue", "#SBATCH --signal=TERM@120", f"#SBATCH --nodes={words[1]}"} <= set(lines)


@pytest.mark.parametrize("words", examples("tpu_vm"), ids=lambda w: w[3])
def test_worker_scripts_are_clean(words: list[str], setup_files: Path) -> None:
    split = words.index("--")
    script = setup_files / "worker.sh"
    text = within(launch("tpu_vm", *words[:split], "--dry-run", *words[split:], cwd=setup_files).stdout)
    script.write_text(text.replace("source ./setup.sh", "true"))
    shellcheck(script)
    assert f"run=({shlex.join(words[split + 1 :])})" in text


def manifest(*words: str) -> dict[str, Any]:
    split = words.index("--")
    done = launch("gke", *words[:split], "--dry-run", *words[split:])
    assert not done.returncode, done.stderr
    return yaml.safe_load(within(done.stdout))


def pod_of(jobset: dict[str, Any]) -> dict[str, Any]:
    return jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("words", examples("gke"), ids=lambda w: f"{w[5]}")
def test_manifests_fit_the_schemas(words: list[str]) -> None:
    jobset = manifest(*words)
    jsonschema.validate(jobset, JOBSET)
    job = jobset["spec"]["replicatedJobs"][0]["template"]
    kubernetes_validate.validate(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}} | job, "1.30", strict=True
    )
    container = pod_of(jobset)["containers"][0]
    environ = {e["name"]: e.get("value") for e in container["env"]}
    assert container["command"] == words[words.index("--") + 1 :]
    assert environ["JAXTAG_PROCESSES"] == str(job["spec"]["completions"]) == str(job["spec"]["parallelism"])
    assert environ["JAXTAG_COORDINATOR"] == f"{words[1]}-run-0-0.{words[1]}:8476"
    # 75 must never be among the codes that end the run.
    assert job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"] == [1, 2, 126, 127]


def test_the_schemas_refuse() -> None:
    jobset = manifest("--name", "x", "--image", "i", "--gpu", "h200", "--nodes", "2", "--pvc", "p", "--", "true")
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}}
    job |= jobset["spec"]["replicatedJobs"][0]["template"]
    kubernetes_validate.validate(job, "1.30", strict=True)
    pod_of(jobset)["terminationGraceSeconds"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.30", strict=True)
    jobset["spec"]["failurePolicy"]["restarts"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(jobset, JOBSET)


@pytest.mark.parametrize(
    ("tpu", "kind", "topology", "hosts", "chips"),
    [
        ("v5litepod-1", "tpu-v5-lite-podslice", "1x1", 1, 1),
        ("v5e-8", "tpu-v5-lite-podslice", "2x4", 1, 8),
        ("v5litepod-16", "tpu-v5-lite-podslice", "4x4", 4, 4),
        ("v5e:16x16", "tpu-v5-lite-podslice", "16x16", 64, 4),
        ("v6e-256", "tpu-v6e-slice", "16x16", 64, 4),
        ("v6e:2x2", "tpu-v6e-slice", "2x2", 1, 4),
        ("v5p-8", "tpu-v5p-slice", "2x2x1", 1, 4),
        ("v5p-256", "tpu-v5p-slice", "4x4x8", 32, 4),
        ("v5p:8x8x8", "tpu-v5p-slice", "8x8x8", 128, 4),
    ],
)
def test_slices(tpu: str, kind: str, topology: str, hosts: int, chips: int) -> None:
    jobset = manifest("--name", "x", "--image", "i", "--tpu", tpu, "--pvc", "p", "--", "true")
    pod = pod_of(jobset)
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": kind,
        "cloud.google.com/gke-tpu-topology": topology,
    }
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": chips}
    assert jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["completions"] == hosts


HARD = ["a b", 'say "x"', "it's", "$(HOME) $HOME `id`", "back\\slash", "@NAME@ &", "two\nlines", "é", ""]


def test_any_argument_survives(tmp_path: Path) -> None:
    words = ["jaxtag", "recommend", *HARD]
    pod = pod_of(
        manifest("--name", "x", "--image", "i", "--tpu", "v6e-4", "--pvc", "p", "--env", f"A={HARD[3]}", "--", *words)
    )
    container = pod["containers"][0]
    kubernetes_reads = [w.replace("$$", "$") for w in container["command"]]
    assert kubernetes_reads == words
    assert [e["value"] for e in container["env"] if e["name"] == "A"] == [HARD[3].replace("$", "$$")]

    shown = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *HARD]
    batch = within(launch("slurm", "--nodes", "1", "--dry-run", "--", *shown).stdout)
    line = batch[batch.index("command=(") : batch.index("progress ()")]
    told = subprocess.run(["bash", "-c", f'{line}\n"${{command[@]}}"'], capture_output=True, text=True, check=True)
    assert yaml.safe_load(told.stdout) == HARD

    done = launch("local", "-n", "1", "--logs", tmp_path / "logs", "--", *shown, check=True)
    assert yaml.safe_load(done.stdout) == HARD


@pytest.mark.parametrize("file", FLAG_FILES, ids=lambda f: f.stem)
def test_flag_files_explain_themselves(file: Path) -> None:
    done = launch(
        "local", "-n", "1", "--platform", "gpu", "--xla-flags", file.stem, "--dry-run", "--", "true", check=True
    )
    flags = [line for line in file.read_text().splitlines() if line.startswith("--")]
    name = "LIBTPU_INIT_ARGS" if file.stem.startswith("tpu_") else "XLA_FLAGS"
    assert f"{name}={' '.join(flags)}" in shlex.split(done.stdout)
    head = file.read_text().partition("\n--")[0]
    assert "Source" in head and ("Not measured here" in head or "RESULTS.md was measured without" in head)


def test_flags_exist() -> None:
    """jaxlib, and libtpu where it is installed, refuse to start with a flag that they do not know."""
    texts = {f.stem: [w for w in f.read_text().splitlines() if w.startswith("--")] for f in FLAG_FILES}
    xla = " ".join(sorted({w for name, flags in texts.items() if not name.startswith("tpu_") for w in flags}))
    look = [sys.executable, "-c", "import jax; jax.devices()"]
    environ = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": xla}
    assert not subprocess.run(look, env=environ, capture_output=True, check=False).returncode
    environ["XLA_FLAGS"] = xla + " --xla_no_such_flag=1"
    assert subprocess.run(look, env=environ, capture_output=True, check=False).returncode
    if importlib.util.find_spec("libtpu") is None:
        return
    code = (
        "from jax.experimental.topologies import get_topology_desc as t; t(platform='tpu', topology_name={!r}).devices"
    )
    for name, topology in (("tpu_v5e", "v5e:4x4"), ("tpu_v5p", "v5p:4x4x4"), ("tpu_v6e", "v6e:4x4")):
        environ = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
            "TPU_SKIP_MDS_QUERY": "1",
            "LIBTPU_INIT_ARGS": " ".join(texts[name]),
        }
        command = [sys.executable, "-c", code.format(topology)]
        assert not subprocess.run(command, env=environ, capture_output=True, check=False).returncode, name


def test_local_devices(tmp_path: Path) -> None:
    dry = ("--devices-per-process", 2, "--dry-run", "--", "true")
    lines = launch("local", "-n", 2, "--platform", "gpu", *dry, check=True).stdout.splitlines()
    assert "CUDA_VISIBLE_DEVICES=0,1" in shlex.split(lines[0]) and "CUDA_VISIBLE_DEVICES=2,3" in shlex.split(lines[1])
    lines = launch(
        "local", "-n", 2, "--platform", "cpu", *dry, check=True, env=os.environ | {"XLA_FLAGS": "--x=1"}
    ).stdout
    assert "XLA_FLAGS=--x=1 --xla_force_host_platform_device_count=2" in shlex.split(lines.splitlines()[1])
