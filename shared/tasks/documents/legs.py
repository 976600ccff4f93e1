"""The legs of a long run."""

#: State of a long run between two legs. The contract's `status` stays "running".
WAITING = "waiting"
