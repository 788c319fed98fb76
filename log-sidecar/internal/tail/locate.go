package tail

import (
	"errors"
	"io/fs"
)

// locate answers the question that all of following a log comes down to: which
// of its files (oldest first, as list gives them) holds the checkpoint, and which
// come after it? A rename while running, rotations while down, copytruncate, a
// reused inode, a rewrite in place and a switched symbolic link differ only in
// the answer. The holder is nil where there is none.
//
//   - The file with the checkpoint's inode number and content holds it, under
//     whatever name it has now. (A device may have another number after a reboot.)
//   - Where that identity is there with other content, the file was truncated (or
//     its inode used again): a copy from before may hold it (copytruncate). So may
//     it where the identity is gone (copied and deleted); but a few bytes prove
//     nothing then, for many logs begin alike.
//   - Else what has been written to since comes after it, and the live file always.
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
		// As it is by now: the list may show a copy that was still being made.
		now, err := stat(files[i].path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && now.id != files[i].id {
			err = errMoving
		}
		if err != nil {
			return nil, nil, err
		}
		// A copy is younger than what it is a copy of; an older file that happens
		// to have the same content is none.
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

// holds opens f to see whether it holds the checkpoint.
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
