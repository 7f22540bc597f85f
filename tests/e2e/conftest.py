from tests.support.fixtures import new_gateway, start_backend, start_gateway

__all__ = ["new_gateway", "start_backend", "start_gateway"]
