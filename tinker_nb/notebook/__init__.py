"""The notebook side: magics and cards. Only this room knows IPython and its widgets."""
