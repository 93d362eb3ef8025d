"""The options of submit and plan in one table, named as Slurm and Ray users know them."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "many", "switch"]


@dataclass(frozen=True, slots=True)
class Flag:
    """One option: the parameter's name, its spellings, its kind and its help."""

    name: str
    spellings: tuple[str, ...]
    help: str
    kind: Kind = "text"
    metavar: str | None = None


FLAGS = (
    Flag("name", ("--name", "-n", "-J", "--job-name"), "Name of the job (a-z, 0-9, '-', '_').", metavar="NAME"),
    Flag("queue", ("--queue", "-q", "-p", "--partition"), "Queue.", metavar="QUEUE"),
    Flag("project", ("--project", "-A", "--account"), "Project that pays.", metavar="PROJECT"),
    Flag("gpus", ("--gpus", "-G"), "GPUs of one attempt, with a model if it matters: H100:2.", metavar="[MODEL:]N"),
    Flag(
        "widths",
        ("--widths",),
        "GPU counts that it can run with, --gpus among them, and their throughput in any unit.",
        metavar="1=1.0,2=1.9",
    ),
    Flag(
        "max_slowdown",
        ("--max-slowdown",),
        "How much longer it may take under power limits on its GPUs, as a share of its run time.",
        metavar="10%",
    ),
    Flag("cpus", ("--cpus", "-c", "--cpus-per-task"), "CPUs of one attempt.", metavar="N"),
    Flag("mem", ("--mem", "--memory"), "Memory, for example 16GiB.", metavar="SIZE"),
    Flag("duration", ("--duration",), "Expected run time, for example 3h or 02:30:00.", metavar="TIME"),
    Flag("time_limit", ("--time", "-t"), "End it when it has run so long; without, never.", metavar="TIME"),
    Flag("begin", ("--begin", "-b"), "Do not start before this.", metavar="WHEN"),
    Flag(
        "deadline",
        ("--deadline",),
        "Finish by this: 18:00, tomorrow18:00, now+6h or ISO 8601. Without a zone it is local time.",
        metavar="WHEN",
    ),
    Flag(
        "deadline_action",
        ("--deadline-action",),
        "For a deadline that can no longer be met: refuse (default), or run at once and late.",
        metavar="refuse|run",
    ),
    Flag(
        "dependency",
        ("--dependency", "-d"),
        "Begin when other jobs have ended: afterok (they succeeded) or afterany; repeat or use commas.",
        kind="many",
        metavar="afterok:JOB",
    ),
    Flag("data", ("--data",), "Data that it reads and where that lies; repeat it.", kind="many", metavar="SIZE@SITE"),
    Flag("patience", ("--patience", "--max-delay"), "How long the job may wait for a better grid.", metavar="TIME"),
    Flag(
        "interruptible",
        ("--interruptible/--not-interruptible",),
        "Whether the job saves checkpoints and may be suspended.",
        kind="switch",
    ),
    Flag(
        "own_checkpoints",
        ("--own-checkpoints",),
        "The program saves by itself on SIGTERM, without lowtide's checkpoint helper.",
        kind="switch",
    ),
    Flag("checkpoint_interval", ("--checkpoint-interval",), "How often it saves at least.", metavar="TIME"),
    Flag("grace", ("--grace",), "Time between the request to stop and the kill.", metavar="TIME"),
    Flag("residency", ("--residency",), "Country where it may run; repeat for several.", kind="many", metavar="CC"),
    Flag("urgency", ("--urgency",), "normal, or clinical: never delayed for carbon.", metavar="normal|clinical"),
    Flag("retries", ("--retries",), "Attempts after a failure that is not the job's own.", metavar="N"),
    Flag("env", ("--env",), "Environment variable; repeat for several.", kind="many", metavar="KEY=VALUE"),
    Flag(
        "workdir",
        ("--workdir", "--working-dir", "-D", "--chdir"),
        "Directory whose content travels with the job; default for commands and scripts: the current one.",
        metavar="DIR",
    ),
    Flag("no_workdir", ("--no-workdir",), "Send no directory.", kind="switch"),
    Flag("runtime_env", ("--runtime-env",), "Ray runtime environment (YAML or JSON file).", metavar="FILE"),
    Flag("label", ("--label",), "Label; repeat for several.", kind="many", metavar="KEY=VALUE"),
    Flag("power_w", ("--power-w",), "Expected power of the whole job in watts.", metavar="WATTS"),
)
"""Every key of a job file that has a flag; what has none is written in the file."""
