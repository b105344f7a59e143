"""Push messages: to the browsers and telephones of a user."""
