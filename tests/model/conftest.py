import pytest

from tests.model.small_network import SmallData, small_data


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> SmallData:
    """The tiny world, read once; nothing may write into it."""
    return small_data(tmp_path_factory.mktemp("small"))
