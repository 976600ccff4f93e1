"""One deployment of this checkout to an empty project, shared by the tests that look at it."""

import copy
from pathlib import Path

import pytest

from tests.deploy.deploying import Deployment, copy_project, deploy
from tests.deploy.google import Google


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, which nobody changes."""
    return copy_project(tmp_path_factory.mktemp("deploy"))


@pytest.fixture(scope="session")
def deployment(project: Path) -> Deployment:
    """What arrived when everything was deployed for the first time."""
    return deploy(project, Google(), "--force")


@pytest.fixture(scope="session")
def again(project: Path, deployment: Deployment) -> Deployment:
    """What arrived when the same was deployed once more."""
    return deploy(project, copy.deepcopy(deployment.google))
