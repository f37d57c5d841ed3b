"""What is missing here, and the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kaleyard.diagnosis.purposes import Diagnosis

__all__ = ["doctor"]


def doctor(purpose: str = "local") -> Diagnosis:
    """What is missing, too old or too small here for a purpose, within five seconds.

    Purposes are `local` runs, `containers` (images, and steps in them), setting up a cluster with `kind`, `minikube`,
    `k3d` or `microk8s` or on one that is there (`cluster`), and `submit`. `stops` of what comes back is empty if all
    that the purpose needs is there. Raises UsageError for another purpose.
    """
    from kaleyard.config import find_project
    from kaleyard.diagnosis.purposes import diagnose

    return diagnose(find_project(), purpose)
