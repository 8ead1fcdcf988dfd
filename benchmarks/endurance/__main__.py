"""`python -m benchmarks.endurance COMMAND`: crashes, an outage of the backend, hours under load, and what a store costs."""

import click

from benchmarks.endurance import crashes, outage, soak, storage_cost


@click.group()
def main() -> None:
    """Try what the stage promises to keep."""


main.add_command(crashes.main, "crashes")
main.add_command(outage.main, "outage")
main.add_command(soak.main, "soak")
main.add_command(storage_cost.main, "storage-cost")

if __name__ == "__main__":
    main()
