"""The local stack: Firebase's emulators, a Storage server and a local Cloud Scheduler, run together."""
