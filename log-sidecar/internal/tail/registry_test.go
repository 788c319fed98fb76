package tail

import (
	"io"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/logfiles"
	"sidecar.example/log-sidecar/internal/position"
)

// Where a file at rest is deleted, its inode number may be given to the next one at once.
func TestFileOfAnotherBirthIsAnotherFile(t *testing.T) {
	found := &logfiles.File{Path: t.TempDir() + "/access.log", ID: logfiles.ID{Dev: 1, Ino: 2}, Live: true, Size: 10, Born: 1}
	r := registry{log: logfiles.New(found.Path), store: &position.Store{}, messages: slog.New(slog.NewTextHandler(io.Discard, nil))}
	listing := func() *logfiles.Listing {
		return &logfiles.Listing{Files: []*logfiles.File{found}, Complete: true, Stable: true}
	}
	r.update(listing())
	r.files[0].at.Position = position.Position{ID: found.ID, Offset: 10, Order: 1}
	r.files[0].rest = true
	r.update(listing())
	require.EqualValues(t, 10, r.files[0].at.Offset)
	require.Empty(t, r.gone)
	found.Born = 2
	r.update(listing())
	require.Len(t, r.files, 1)
	require.Zero(t, r.files[0].at.Offset)
	require.Len(t, r.gone, 1)
	require.True(t, r.gone[0].file.Deleted)
}
