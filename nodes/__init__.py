"""The ComfyUI extension: the list of node classes."""

import logging

from comfy_api.latest import ComfyExtension, io


class MyTalkExtension(ComfyExtension):
    """What ComfyUI asks for once it has loaded the pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All node classes; none, with a line in the log, while a package is missing."""
        try:
            from . import analyse, animate, combine, edit, load, measure, render, templates
        except ModuleNotFoundError as error:
            logging.error(
                "MyTalk's nodes need the package %r, which is not installed: run "
                "`pip install -r requirements.txt` in the pack's folder with ComfyUI's Python, then restart",
                error.name,
            )
            return []
        load.register_model_folder()
        templates.serve_workflows()
        modules = (load, analyse, animate, render, combine, edit, measure)
        return [node for module in modules for node in module.NODES]


async def comfy_entrypoint() -> MyTalkExtension:
    """Called by ComfyUI."""
    return MyTalkExtension()
