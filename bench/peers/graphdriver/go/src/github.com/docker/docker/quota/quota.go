// Package quota replaces a package that Debian leaves out of Docker's sources. It reports that no file system has
// project quotas, as the real one does unless the file system is mounted with them.
package quota

import "errors"

// ErrQuotaNotSupported means that the file system has no project quotas.
var ErrQuotaNotSupported = errors.New("Filesystem does not support, or has not enabled quotas")

// Quota is a size in bytes.
type Quota struct {
	Size uint64
}

// Control is never created.
type Control struct{}

// NewControl always fails.
func NewControl(string) (*Control, error) {
	return nil, ErrQuotaNotSupported
}

// SetQuota always fails.
func (*Control) SetQuota(string, Quota) error {
	return ErrQuotaNotSupported
}

// GetQuota always fails.
func (*Control) GetQuota(string, *Quota) error {
	return ErrQuotaNotSupported
}
