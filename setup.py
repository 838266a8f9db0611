"""Finds the packages; `training/` is installed as `mytalk_training`. All else stands in pyproject.toml."""

from setuptools import find_packages, setup

core = find_packages(include=["mytalk_core", "mytalk_core.*"])
training = find_packages("training")

setup(
    packages=[*core, "mytalk_training", *(f"mytalk_training.{name}" for name in training)],
    package_dir={"mytalk_training": "training"},
)
