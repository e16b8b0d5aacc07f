// Package quota is what Debian leaves out of Docker's packages: here no file system has project quotas, which is what
// Docker's drivers are told by the real one, too, unless they are mounted with them.
package quota

import "errors"

// ErrQuotaNotSupported says that there are none.
var ErrQuotaNotSupported = errors.New("Filesystem does not support, or has not enabled quotas")

// Quota is a size in bytes.
type Quota struct {
	Size uint64
}

// Control is never made.
type Control struct{}

// NewControl refuses.
func NewControl(string) (*Control, error) {
	return nil, ErrQuotaNotSupported
}

// SetQuota refuses.
func (*Control) SetQuota(string, Quota) error {
	return ErrQuotaNotSupported
}

// GetQuota refuses.
func (*Control) GetQuota(string, *Quota) error {
	return ErrQuotaNotSupported
}
