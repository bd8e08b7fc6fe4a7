"""`python -m transferscope`."""

from transferscope.cli import main

if __name__ == "__main__":
    main()
