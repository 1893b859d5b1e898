"""`python -m smith` is the `smith` command."""

from smith.cli import main

main()
