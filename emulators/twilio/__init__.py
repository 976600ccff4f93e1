"""Twilio's messages on this machine: what is sent here stays here."""
