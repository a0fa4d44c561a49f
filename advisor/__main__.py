"""``python -m advisor``: the same as the ``cfgadvise`` command."""

from advisor.cli.app import main

if __name__ == "__main__":
    main()
