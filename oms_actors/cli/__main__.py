"""`python -m oms_actors.cli` is `oms`."""

from oms_actors.cli.main import main

if __name__ == "__main__":
    main()
