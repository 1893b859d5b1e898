"""The program: `smith`, or `python -m smith`. It hears signals before it imports the command, which takes a while."""

from smith.train import stopping


def main() -> None:
    """Does what the command line says."""
    with stopping.signals():
        with stopping.run_in_hand():  # an import is not interrupted half-way
            from smith import cli
        cli.main()


if __name__ == "__main__":  # workers import this file
    main()
