from types import SimpleNamespace


class Routes:
    def __init__(self):
        self.paths = []

    def get(self, path):
        self.paths.append(path)
        return lambda handler: handler


PromptServer = SimpleNamespace(instance=SimpleNamespace(routes=Routes()))
