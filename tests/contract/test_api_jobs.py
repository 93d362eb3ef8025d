from lowtide.scheduler.api.app import create_app
from tests.fake_service import FakeService
def test_x():
    create_app(FakeService(), token="t", metrics=lambda: b"")
