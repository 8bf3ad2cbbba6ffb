"""What the integration tests stand on: processes, stand-ins, the service, clients."""
