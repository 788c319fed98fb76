package tail

import (
	"errors"
	"io/fs"
)

// locate answers the question at the heart of following a log: which of its files (oldest
// first, as list returns them) holds the checkpoint, and which come after it? A rename
// while running, rotations while down, copytruncate, a reused inode, a rewrite in place
// and a switched symbolic link differ only in the answer. holder is nil if there is none.
//
//   - A file with the checkpoint's inode number and content holds it, whatever its name
//     is now. (The device number may change with a reboot.)
//   - If that inode has other content, the file was truncated or the inode reused, and a
//     copy made before may hold the checkpoint (copytruncate). If the inode is gone, the
//     file may have been copied and deleted; but then a few bytes of content are no
//     proof, because many logs begin alike.
//   - If no file holds it, the files written to since come after it, and always the live
//     one.
func locate(files []file, at *checkpoint) (holder *file, after []file, err error) {
	if at.isZero() {
		return nil, files, nil
	}
	truncated := false
	for i := range files {
		if files[i].id.Ino != at.ID.Ino {
			continue
		}
		if ok, err := holds(&files[i], at); err != nil || ok {
			return &files[i], files[i+1:], err
		}
		truncated = truncated || files[i].id == at.ID
	}
	for i := range files {
		if files[i].live || at.Offset == 0 || !truncated && at.Offset < fingerprintLen {
			continue
		}
		// Stat it again: it may be a copy that was still being made when listed.
		now, err := stat(files[i].path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && now.id != files[i].id {
			err = errMoving
		}
		if err != nil {
			return nil, nil, err
		}
		// A copy is never older than its original; an older file only happens to have
		// the same content.
		if now.mtime < at.MTime {
			continue
		}
		if ok, err := holds(&now, at); err != nil || ok {
			return &now, files[i+1:], err
		}
	}
	for _, f := range files {
		if f.live || f.mtime > at.MTime {
			after = append(after, f)
		}
	}
	return nil, after, nil
}

// holds reports whether f holds the checkpoint.
func holds(f *file, at *checkpoint) (bool, error) {
	if at.Offset == 0 {
		return f.id == at.ID, nil
	}
	opened, err := open(f)
	if err != nil {
		return false, err
	}
	defer opened.Close()
	return at.isIn(opened)
}
