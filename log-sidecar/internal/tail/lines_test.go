package tail

import (
	"strings"
	"testing"
)

func TestPiecesGoOnAfterAKill(t *testing.T) {
	s := newSite(t)
	s.cfg.MaxLineBytes = 1000
	w := newWriter(t, s.path)
	w.write(strings.Repeat("a", 1500))
	s.look()
	s.want([]string{strings.Repeat("a", 1000) + "+"})
	s.kill()
	w.write("\nnext\n")
	s.look()
	s.want([]string{strings.Repeat("a", 1000) + "+", strings.Repeat("a", 500) + ".", "next"})
}
