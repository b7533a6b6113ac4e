"""The command line: a thin layer over the rest. ``fitrl --help`` lists the commands."""

import sys


def main() -> None:
    """Run the command line; the entry point of the program ``fitrl``."""
    match sys.argv[1:]:
        # Looking models up is instant: the parser alone would take longer to import than the list to print.
        case ["models"]:
            from fitrl.cli.cards import print_models

            print_models()
        case ["models", name] if not name.startswith("-"):
            from fitrl.cli.cards import print_models

            print_models(name)
        case _:
            from fitrl.cli.app import app

            app()
