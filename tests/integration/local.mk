# tests: integration
