"""From a folder of videos to a dataset to train on."""
