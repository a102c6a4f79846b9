//go:build tools

// Package tools keeps the server among the module's requirements; nothing here is compiled.
package tools

import _ "github.com/contribsys/faktory/cmd/faktory"
