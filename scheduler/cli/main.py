"""The entry point ``lowtide``: gathers the commands. Each imports what it needs when it runs, not before."""

from lowtide.scheduler.cli import (
    budget_commands,
    daemon_commands,
    grid_commands,
    job_commands,
    policy_commands,
    reservation_commands,
    simulate_commands,
    submit_commands,
    zone_commands,
)
from lowtide.scheduler.cli.root import app

COMMAND_MODULES = (
    submit_commands,
    job_commands,
    grid_commands,
    zone_commands,
    simulate_commands,
    daemon_commands,
    policy_commands,
    budget_commands,
    reservation_commands,
)
"""In the order of the help."""


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
