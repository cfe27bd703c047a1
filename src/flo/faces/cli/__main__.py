"""`python -m flo.faces.cli` is `flo`."""

from flo.faces.cli.main import main

if __name__ == "__main__":
    main()
