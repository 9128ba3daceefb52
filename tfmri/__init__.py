"""From a folder of brain MRI scans and a labels.csv to a trained, honestly evaluated 3D CNN.

The rooms, in the order a scan passes through them: ``cohort``, ``images``, ``pipeline``, ``augment``, ``models`` and
``tasks``, ``training``, ``runs``, ``evaluation``. ``workflows`` walks through them for one command, ``experiment`` holds
the settings, ``cli`` only parses a command line.
"""

__version__ = "0.1.0"
