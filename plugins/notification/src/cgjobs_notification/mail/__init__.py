"""Mails: from a payload to a server that takes them."""
