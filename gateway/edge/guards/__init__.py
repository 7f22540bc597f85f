"""What may keep a request from its model: each guard decides over one exchange and returns a refusal or nothing."""
