"""The ComfyUI extension: the list of node classes."""

import logging

from comfy_api.latest import ComfyExtension, io

from . import missing


class MyTalkExtension(ComfyExtension):
    """What ComfyUI asks for once it has loaded the pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All node classes; while a package is missing, nodes that say so in their place."""
        try:
            from . import (
                analyse,
                animate,
                combine,
                edit,
                folder,
                help_pages,
                load,
                measure,
                render,
                templates,
            )
        except ModuleNotFoundError as error:
            if not missing.is_missing_package(error):
                raise
            logging.error(missing.remedy(error.name))
            return missing.nodes_that_tell(missing.remedy(error.name))
        load.register_model_folder()
        templates.serve_workflows()
        help_pages.serve_help()
        modules = (load, analyse, animate, render, combine, folder, edit, measure)
        return [node for module in modules for node in module.NODES]


async def comfy_entrypoint() -> MyTalkExtension:
    """Called by ComfyUI."""
    return MyTalkExtension()
