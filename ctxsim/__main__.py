"""``python -m ctxsim`` is the command line."""

from ctxsim.cli import main

if __name__ == "__main__":
    main()
