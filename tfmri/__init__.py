"""From a folder of brain MRI scans and a labels.csv to a trained, honestly evaluated 3D CNN.

The rooms, in the order a scan passes through them: ``cohort``, ``images``, ``pipeline``, ``augment``, ``models`` and
``tasks``, ``training``, ``runs``, ``inference``, ``evaluation``. ``phantom`` makes scans for those who have none,
``experiment`` holds the settings, ``workflows`` walks through the rooms for one command, ``cli`` parses a command line.
"""

__version__ = "0.1.0"
