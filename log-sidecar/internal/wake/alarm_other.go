//go:build !linux

package wake

import "time"

// An alarm is a time.Timer; on Linux there is a cheaper one.
type alarm struct{ *time.Timer }

func newAlarm() (*alarm, error) { return &alarm{time.NewTimer(0)}, nil }

func (a *alarm) Close() error { a.Stop(); return nil }
