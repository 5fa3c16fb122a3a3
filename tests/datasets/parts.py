"""The parts of the server that datasets use, without the rest."""

from server.settings import Settings
from server.storage.database import Database
from server.transfer.urls import Urls


class Parts:
    def __init__(self, data_dir, file=None):
        self.settings = Settings(data_dir=data_dir)
        self.settings.scratch.mkdir(exist_ok=True)
        self.database = Database(file)
        self.urls = Urls(self.settings)
