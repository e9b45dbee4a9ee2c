"""`python -m tunalm`, for launchers that start a module."""

from tunalm.cli.app import main

if __name__ == "__main__":
    main()
