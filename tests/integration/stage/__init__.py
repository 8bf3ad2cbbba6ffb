# SPDX-License-Identifier: Apache-2.0
"""What the integration tests stand on: processes, stand-ins, the service, clients."""
