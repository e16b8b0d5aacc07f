// Package v2 is what Debian leaves out of Docker's packages: the type of plugins, of which there are none here.
package v2

import (
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/pkg/plugingetter"
)

// Plugin is never made.
type Plugin struct {
	plugingetter.CompatPlugin
	PluginObj types.Plugin
}
