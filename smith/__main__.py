"""`python -m smith` is the `smith` command."""

from smith.cli import main

if __name__ == "__main__":  # workers import this file
    main()
