"""Fixtures of the journeys: one practice provider and one gateway for the whole session."""

from pathlib import Path

import pytest

import harness


def pytest_collection_modifyitems(items):
    if harness.DIRECT:
        for item in items:
            if item.get_closest_marker("gateway") or "gateway" in item.fixturenames:
                item.add_marker(pytest.mark.skip(reason="needs the gateway"))


@pytest.fixture(scope="session")
def practice():
    with harness.scratch() as folder:
        provider = harness.PracticeProvider(Path(folder))
        yield provider
        provider.stop()


@pytest.fixture(scope="session")
def gateway(practice):
    with harness.scratch() as folder:
        running = harness.Gateway.before(practice, Path(folder))
        yield running
        assert running.stop() == 0, running.process.output()[-4000:]


@pytest.fixture(scope="session")
def service(request):
    """What the clients talk to: the gateway, or the practice provider itself."""
    if harness.DIRECT:
        practice = request.getfixturevalue("practice")
        return harness.Service(url=practice.url, key="direct", direct=True)
    return request.getfixturevalue("gateway")
