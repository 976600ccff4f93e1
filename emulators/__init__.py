"""The local stack: Firebase's emulators, Storage and a Cloud Scheduler, started and ended as one."""
