"""`python -m omni_etl` is `omni`, for where the script is not on the path."""

from omni_etl.cli.app import main

if __name__ == "__main__":
    main()
