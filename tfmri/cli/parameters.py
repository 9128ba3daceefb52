"""Parameters that several commands share."""

from typing import Annotated

import typer

Experiment = Annotated[str, typer.Argument(metavar="EXP", help="A name in experiments/, or the path of a YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting to change, such as training.epochs=3.")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="EXP/latest, EXP/NAME, or the path of a run.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes that work side by side; all usable cores by default.")
]
SiteName = Annotated[
    str | None,
    typer.Option("--site", metavar="NAME", help="A cluster of sge/sites/; else TFMRI_SITE, else that of sge/user.mk."),
]
Limit = Annotated[
    str | None, typer.Option("--bwlimit", metavar="RATE", help="At most so much a second, such as 2m, for a slow line.")
]
