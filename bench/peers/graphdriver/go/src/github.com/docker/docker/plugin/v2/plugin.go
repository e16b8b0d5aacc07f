// Package v2 replaces a package that Debian leaves out of Docker's sources. Its only type, Plugin, is unused.
package v2

import (
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/pkg/plugingetter"
)

// Plugin is never created.
type Plugin struct {
	plugingetter.CompatPlugin
	PluginObj types.Plugin
}
