"""Running a pipeline on this machine: cache, executor, runner, reporter, report."""
