# The auditwell command: built once the library is whole. SPDX-License-Identifier: Apache-2.0
