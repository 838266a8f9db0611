from types import SimpleNamespace

web = SimpleNamespace(Request=object, FileResponse=lambda path: path, HTTPNotFound=LookupError)
