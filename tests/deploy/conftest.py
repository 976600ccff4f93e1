"""One deployment of this checkout to an empty project, shared by the tests."""

import copy
from pathlib import Path

import pytest

from tests.deploy.deploying import Deployment, copy_project, deploy
from tests.deploy.google import Google


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, which tests must not change."""
    return copy_project(tmp_path_factory.mktemp("deploy"))


@pytest.fixture(scope="session")
def deployment(project: Path) -> Deployment:
    """The first deployment."""
    return deploy(project, Google(), "--force")


@pytest.fixture(scope="session")
def again(project: Path, deployment: Deployment) -> Deployment:
    """A second deployment of the same checkout."""
    return deploy(project, copy.deepcopy(deployment.google))
