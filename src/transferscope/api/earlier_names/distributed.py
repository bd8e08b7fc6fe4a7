"""The name of `transferscope.api.torchrun` in version 0.1."""

import runpy

if __name__ == "__main__":
    runpy.run_module("transferscope.api.torchrun", run_name="__main__")
else:
    from transferscope.api.torchrun import main, train_study

    __all__ = ["main", "train_study"]
