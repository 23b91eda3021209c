# tests: plugins
