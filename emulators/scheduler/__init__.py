"""A local Cloud Scheduler: fires the project's scheduled functions, and serves the REST surface of its jobs.

Started by the local stack as ``python -m emulators.scheduler``; knows the product only through the manifest
and over HTTP. ``schedule`` says when, ``job`` what, ``engine`` decides, ``dispatch`` sends, ``server``
answers clients. Never makes, changes or deletes a job: a schedule is written in the function alone.
"""
