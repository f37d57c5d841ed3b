"""lock: the digests of the base images, in images.lock."""

from __future__ import annotations

import click

__all__ = ["lock"]


@click.command()
def lock() -> None:
    """Write the current digests of the pipelines' base images to images.lock.

    Images on a base image that has moved are then rebuilt. `make lock` locks the packages. Example: kaleyard lock
    """
    import kaleyard

    done = kaleyard.lock()
    for name, digest in sorted(done.digests.items()):
        if name not in done.silent:
            state = "as before" if done.before.get(name) == digest else "moved" if name in done.before else "new"
            click.echo(f"{name}: {digest} ({state})")
    for name, reason in sorted(done.silent.items()):
        what = "its digest stays as it was" if name in done.digests else "it is not locked"
        click.echo(f"{name}: {reason}; {what}", err=True)
