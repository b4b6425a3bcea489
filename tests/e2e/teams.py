"""flytekit's `FlyteRemote` as a team configures it."""

from flytekit.configuration import Config
from flytekit.remote import FlyteRemote


def remote(demo, team, project, domain="development"):
    config = Config.auto(str(demo.client(team).config))
    return FlyteRemote(config, default_project=project, default_domain=domain)
