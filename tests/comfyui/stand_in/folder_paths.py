"""Folders below `base`, which a test sets."""

from pathlib import Path

base = Path("/nonexistent")
models_dir = str(base / "models")
models: dict[str, list[str]] = {}


def add_model_folder_path(name, path):
    models.setdefault(name, []).append(path)


def get_folder_paths(name):
    return models[name]


def get_input_directory():
    return str(base / "input")


def get_output_directory():
    return str(base / "output")


def get_temp_directory():
    return str(base / "temp")


def filter_files_content_types(files, kinds):
    return list(files)


def get_annotated_filepath(name):
    return str(base / "input" / name)


def exists_annotated_filepath(name):
    return Path(get_annotated_filepath(name)).exists()


def get_save_image_path(prefix, root, width=0, height=0):
    folder = Path(root) / Path(prefix).parent
    folder.mkdir(parents=True, exist_ok=True)
    name = Path(prefix).name
    return str(folder), name, len(list(folder.glob(f"{name}_*"))) + 1, str(Path(prefix).parent), prefix
