"""What a fit takes: interactions, item features, and the fingerprint of both."""
