"""A supervisor of processes in the manner of Erlang/OTP. Knows nothing of orders."""
